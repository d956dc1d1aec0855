"""A run's cascade: how it is chosen, what is said of it, and what its other tier would have answered."""
