"""What an experiment asks of whom: prompts, configurations, sizes, times beforehand, how answers are scored."""
