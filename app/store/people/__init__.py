"""Whose things are whose, who sees what, and how each person has set the widgets."""
