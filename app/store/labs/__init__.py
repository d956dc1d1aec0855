"""What the labs measured."""
