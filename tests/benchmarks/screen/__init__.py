"""What the screen takes from the engine, and what a person waits for at it."""
