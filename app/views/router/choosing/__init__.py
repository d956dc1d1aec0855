"""The Router lab's step of choosing a threshold."""
