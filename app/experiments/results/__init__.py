"""What an experiment came to: arrays, figures of each configuration, a table for a terminal."""
