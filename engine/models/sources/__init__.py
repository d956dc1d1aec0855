"""Where models come from: the catalogue, its wheels, the hub, GGUF files and their conversion."""
