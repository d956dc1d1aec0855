"""The Judging page's parts."""
