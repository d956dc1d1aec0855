"""What people chose for the whole installation."""
