"""The job that answers and times an experiment's cells."""
