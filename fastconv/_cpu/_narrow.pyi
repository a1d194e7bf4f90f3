from .._problem import ConvProblem
from ._bound import Kernel
from .narrow_layout import Layout

class NarrowKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
