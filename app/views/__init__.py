"""What is drawn: widgets and charts, in rooms by subject."""
