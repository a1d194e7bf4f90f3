from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .nchw import Blocking

MAX_CHANNELS: int
ROWS: int

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

class NchwKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: Blocking) -> None: ...
