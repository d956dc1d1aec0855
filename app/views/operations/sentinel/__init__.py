"""The Sentinel page's parts."""
