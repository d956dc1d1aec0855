"""Configurations that people saved under a name."""
