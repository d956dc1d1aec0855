"""Which files of a repository belong to its checkpoint."""

WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt"]
"""Patterns of those that are fetched."""
UNWANTED = ["*/*", "consolidated*"]
"""Of those that are not: other formats in folders of their own, and Mistral's second copy of the same weights."""
