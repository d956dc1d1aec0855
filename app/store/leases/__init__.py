"""Who goes on with what right now, one job of one process at a time."""
