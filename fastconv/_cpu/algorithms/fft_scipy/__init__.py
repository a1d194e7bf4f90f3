"""Fourier transforms by SciPy, block by block: overlap-save."""

from .algorithm import FftScipy

ALGORITHMS = (FftScipy(),)
