"""Runs by name, found by filters, in a table and in full."""
