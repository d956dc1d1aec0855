"""Golden prompts, and how they were answered over time."""
