"""Routers and thresholds: learned, judged, put into a verdict."""
