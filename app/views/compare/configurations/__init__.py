"""Whole configurations on the Compare page: which ones, and how they stand beside each other."""
