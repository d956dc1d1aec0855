"""Routers: recorded answers, scores, thresholds and profiles."""
