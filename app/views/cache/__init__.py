"""The cache lab's parts."""
