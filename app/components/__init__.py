"""Widgets and charts used by more than one page."""
