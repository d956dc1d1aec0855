"""Lanes that answer side by side: what is shown while they run, and the verdict on them."""
