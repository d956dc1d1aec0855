"""Experiments, and what each of their cells came to."""
