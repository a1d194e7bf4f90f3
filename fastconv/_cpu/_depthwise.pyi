from .._problem import ConvProblem
from ._bound import Kernel

class DepthwiseKernel(Kernel):
    def __init__(self, problem: ConvProblem, band: int) -> None: ...
