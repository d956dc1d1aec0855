"""Experiments: the list, a new one, and what one came to."""
