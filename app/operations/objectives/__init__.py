"""Service level objectives: how far each is kept, how much of its error budget is left, how fast that goes; goodput."""
