"""What one browser session remembers: its keys, read and written in one place a screen."""
