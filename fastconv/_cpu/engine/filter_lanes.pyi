import numpy as np

from ..._algorithm import Operands
from .correlation import Kernel

class PhasesKernel(Kernel):
    shared_bytes: int
    thread_bytes: int
    def pack(self, operands: Operands) -> np.ndarray | None: ...

class RowSplitsKernel(Kernel):
    shared_bytes: int
    thread_bytes: int
