"""Models that other servers run: what is kept of them, with their keys, and what a connection test finds."""
