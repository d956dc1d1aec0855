"""The Router lab's steps of bringing prompts and recording answers."""
