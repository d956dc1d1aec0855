"""Profiles: kept, put to use, watched."""
