"""The operations page's charts."""
