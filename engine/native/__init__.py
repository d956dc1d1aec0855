"""Kernels of our own in C++: built once for this processor, kept beside their source, called by ctypes.

Building them needs no torch; calling them does, so that is in :mod:`engine.native.kernels`.
"""

from engine.native.compilation import build, build_in_background, instructions, kernels_built, why_not

__all__ = ["build", "build_in_background", "instructions", "kernels_built", "why_not"]
