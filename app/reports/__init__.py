"""A page to print: a question, its verdict, and the figures behind it, in a single file."""
