"""promptfoo's tests as prompts with checkers: what they ask, what their assertions come to, and what has no checker."""
