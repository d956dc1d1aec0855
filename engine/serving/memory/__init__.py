"""Which models are in memory, how they get there, and who waits for it."""
