"""stub"""

from ..._algorithm import Algorithm


class ImplicitGemm(Algorithm):
    name = "implicit_gemm"
    dtypes = frozenset({"float32", "float64"})

    def supports(self, problem):
        return False
