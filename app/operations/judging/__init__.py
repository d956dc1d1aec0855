"""Judging live traffic: a sample of stored runs, in idle time, under a budget."""
