"""Experiments: what runs of many prompts under several configurations show, and how sure that is."""
