"""The quantization lab's parts."""
