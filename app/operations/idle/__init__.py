"""What a server does by itself, in the time in which nobody asks anything of its engine."""
