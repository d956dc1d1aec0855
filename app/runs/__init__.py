"""Runs: asked for, followed, stored and judged."""
