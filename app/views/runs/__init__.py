"""Runs as tables, cards and live lanes."""
