"""The autopilot: what it is to keep, how far it is, what it found, and the ways to use that."""
