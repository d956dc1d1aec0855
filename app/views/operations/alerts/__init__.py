"""Alerts and objectives: whether all is within its promise, what fires, what is promised, the rules, the channels."""
