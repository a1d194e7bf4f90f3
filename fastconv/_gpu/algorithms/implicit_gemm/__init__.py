"""implicit_gemm: a matrix product on the FMA units whose pixels are read straight from the arrays."""

from .algorithm import ImplicitGemm

ALGORITHMS = (ImplicitGemm(),)
