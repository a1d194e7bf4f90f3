from .._problem import ConvProblem
from ._bound import Kernel
from .direct_layout import Layout

ROWS: int
SLICE_BYTES: int

class DirectKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
