from ...._problem import ConvProblem
from ...engine.correlation import Kernel

MOST_CHANNELS: int

class NhwcKernel(Kernel):
    shared_bytes: int
    thread_bytes: int

    def __init__(self, problem: ConvProblem, band: int, columns: int = 0, parts: int = 1) -> None: ...

class SmallGroupsKernel(NhwcKernel): ...

class NhwcGradient(Kernel):
    shared_bytes: int
    thread_bytes: int

    def __init__(self, problem: ConvProblem, splits: int, parts: int, band: int = 1, columns: int = 1) -> None: ...

class SmallGroupsGradient(NhwcGradient): ...
