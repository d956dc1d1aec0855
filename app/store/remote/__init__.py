"""Models that other servers run."""
