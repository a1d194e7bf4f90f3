from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from . import few_filters_blocking
from .blocking import Blocking

ROWS: int
SLICE_BYTES: int

class DirectKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: Blocking) -> None: ...

class FewFiltersKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: few_filters_blocking.Blocking) -> None: ...
