"""The regression sentinel: golden prompts replayed, and held against what was accepted."""
