"""Kernels of our own in C++: built once for this processor, kept beside their source, called by ctypes."""

from engine.native.compilation import build, build_in_background, why_not
from engine.native.kernels import Kind, Layer, Library, Matrix, Model, library

__all__ = ["Kind", "Layer", "Library", "Matrix", "Model", "build", "build_in_background", "library", "why_not"]
