"""What the kernels spend their time with, and what fewer bits of some matrices would cost."""
