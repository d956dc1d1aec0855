"""The machine: its device, its memory and the limits on it, and what of it is recorded with a run."""
