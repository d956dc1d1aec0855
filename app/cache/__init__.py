"""The prefix cache: how kept sequences share their beginnings, and simulations of its budget."""
