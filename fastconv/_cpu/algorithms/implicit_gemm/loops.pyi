import numpy as np

from ...._algorithm import Operands, Params
from ...._problem import ConvProblem
from ...engine.correlation import Kernel

class GemmKernel(Kernel):
    packed_size: int
    shared_bytes: int
    thread_bytes: int
    def __init__(self, problem: ConvProblem, params: Params) -> None: ...
    def pack(self, operands: Operands, threads: int) -> np.ndarray: ...
