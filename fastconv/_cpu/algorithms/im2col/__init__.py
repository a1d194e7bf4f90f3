"""Matrix products by BLAS of copied windows: the one that takes every problem."""

from .algorithm import Im2col

ALGORITHMS = (Im2col(),)
