from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .algorithm import Layout

ROWS: int

class NchwKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
