"""Fourier transforms by SciPy, block by block: overlap-save."""
