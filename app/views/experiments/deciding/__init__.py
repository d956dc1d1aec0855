"""The decision sheet: the answer, its figures, a day of it, the answers that flipped, and what can be saved."""
