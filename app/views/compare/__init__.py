"""Runs or whole configurations side by side."""
