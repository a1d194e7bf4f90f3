from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from . import few_filters_layout
from .layout import Layout

ROWS: int
SLICE_BYTES: int

class DirectKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: Layout) -> None: ...

class FewFiltersKernel(Kernel):
    def __init__(self, problem: ConvProblem, layout: few_filters_layout.Layout) -> None: ...
