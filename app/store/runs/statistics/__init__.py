"""Figures over many runs: counts, percentiles, speeds, what cascades saved, and what configurations are compared by."""
