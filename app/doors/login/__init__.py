"""How people sign in who come from other machines: with a shared password, or with an account of a provider."""
