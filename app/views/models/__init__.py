"""The model library's parts."""
