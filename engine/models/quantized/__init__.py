"""Checkpoints that other tools quantized: their codes, and the weights that these stand for."""
