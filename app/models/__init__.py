"""Models that somebody brings."""
