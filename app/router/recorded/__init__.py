"""Recorded answers: the job that records, how long that takes, what becomes of them."""
