"""Commands for whoever keeps the run database: copies, pruning, runs written out."""
