"""The decision sheet: the cost of a day, what is read of runs, the report."""
