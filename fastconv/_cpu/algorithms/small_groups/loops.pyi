from ...._problem import ConvProblem
from ...engine.filter_lanes import PhasesKernel, RowSplitsKernel

MAX_CHANNELS: int

class SmallGroupsKernel(PhasesKernel):
    def __init__(self, problem: ConvProblem, band: int, columns: int, parts: int) -> None: ...

class SmallGroupsGradient(RowSplitsKernel):
    def __init__(self, problem: ConvProblem, splits: int, parts: int, band: int, columns: int) -> None: ...
