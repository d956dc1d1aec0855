"""What fewer bits change: the lab's measurements, alarms on them, and what a precision is expected to do."""
