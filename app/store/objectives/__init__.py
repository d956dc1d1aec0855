"""What is promised of the traffic, and the counts of runs that keep it or do not."""
