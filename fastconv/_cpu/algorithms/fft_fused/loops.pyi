import numpy as np

from ...._algorithm import Operands, Resources
from ...._problem import ConvProblem
from ...engine.correlation import Kernel
from .blocking import Blocking

COPIED_ROWS: int

class FftFusedKernel(Kernel):
    def __init__(self, problem: ConvProblem, blocking: Blocking) -> None: ...
    def pack(self, operands: Operands, threads: int) -> np.ndarray: ...
    def spoiled_by(self, operands: Operands, resources: Resources) -> list[int]: ...
