"""Fourier transforms, products and their sums in one pass over small tiles, by kernels of our own."""

from .algorithm import FftFused

ALGORITHMS = (FftFused(),)
