"""Elementwise: what is not a convolution, on canonical arrays of the GPU."""
