"""Recorded answers and calibrated profiles."""
