"""Thresholds that keep a promise, and the evidence for it."""
