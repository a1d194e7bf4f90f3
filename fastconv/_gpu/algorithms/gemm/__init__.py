"""Products of matrices by cuBLAS: layers of 1x1 taps where they lie, others by columns of the input."""

from .algorithm import Gemm, GemmTf32

ALGORITHMS = (Gemm(), GemmTf32())
