"""Whole configurations held against each other by the runs that are kept, on the prompts that all of them answered."""
