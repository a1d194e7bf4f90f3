from .._problem import ConvProblem
from ._bound import Kernel
from .algorithms.planes import Layout

ROWS: int

class PlanesKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
