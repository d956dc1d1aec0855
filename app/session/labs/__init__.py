"""What a session remembers of the labs, a module each."""
