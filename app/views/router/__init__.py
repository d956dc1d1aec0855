"""The router lab's parts."""
