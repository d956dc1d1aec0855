"""OpenAI-compatible servers: their addresses, keys and names, and what they say of errors."""
