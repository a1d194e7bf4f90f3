"""Matrix products by BLAS of copied windows: the one that takes every problem."""
