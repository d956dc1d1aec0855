"""Saved configurations beyond this Gearbox: as a file, from the command line, and as flags of vLLM."""
