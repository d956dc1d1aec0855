"""A judge: set it to work, what it said, and how far it is to be trusted."""
