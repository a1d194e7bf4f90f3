"""Products of spectra by cuFFT: long and large kernels."""

from .algorithm import Fft

ALGORITHMS = (Fft(),)
