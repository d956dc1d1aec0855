"""``gearbox sentinel``: replays golden prompts, lists how they stand, accepts."""
