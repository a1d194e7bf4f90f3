from .._problem import ConvProblem
from ._bound import Kernel

MOST_CHANNELS: int

class DepthwiseKernel(Kernel):
    def __init__(self, problem: ConvProblem, band: int) -> None: ...

class GroupedKernel(DepthwiseKernel): ...

class DepthwiseGradient(Kernel):
    def __init__(self, problem: ConvProblem, splits: int, parts: int) -> None: ...

class GroupedGradient(DepthwiseGradient): ...
