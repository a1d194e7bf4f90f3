from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .few_filters_layout import Layout

class NarrowKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...
