"""implicit_gemm on tensor cores, by mma.sync: a matrix product whose pixels are read straight from the arrays."""

from .algorithm import TensorCoreGemm

_FLOAT32 = frozenset({"float32"})
ALGORITHMS = (
    TensorCoreGemm("implicit_gemm_mma", "bf16", frozenset({"float16", "bfloat16"})),
    TensorCoreGemm("implicit_gemm_3xtf32", "3xtf32", _FLOAT32),
    TensorCoreGemm("implicit_gemm_tf32", "tf32", _FLOAT32),
    TensorCoreGemm("implicit_gemm_int8", "int8", frozenset({"int8"})),
)
