"""What every room draws with: charts, progress, errors, times, marked text."""
