from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .nchw import Layout

ROWS: int

class PlanesKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
