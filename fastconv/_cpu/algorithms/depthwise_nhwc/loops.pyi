from ...._problem import ConvProblem
from ...engine.filter_lanes import PhasesKernel, RowSplitsKernel

class NhwcKernel(PhasesKernel):
    def __init__(self, problem: ConvProblem, band: int) -> None: ...

class NhwcGradient(RowSplitsKernel):
    def __init__(self, problem: ConvProblem, splits: int, parts: int) -> None: ...
