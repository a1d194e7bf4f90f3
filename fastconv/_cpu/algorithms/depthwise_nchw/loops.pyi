from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .algorithm import Blocking

ROWS: int

class NchwKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: Blocking) -> None: ...
