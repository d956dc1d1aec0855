"""The speculation lab's parts."""
