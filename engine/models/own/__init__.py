"""Models of one's own: GGUF files that are added, and those that other programs keep on this machine."""
