import numpy as np

from .._algorithm import Operands, Params
from .._problem import ConvProblem
from ._bound import Kernel

def scratch_bytes(dtype: str, depth: int, span: int, rows: int) -> int: ...

class GemmKernel(Kernel):
    packed_size: int
    def __init__(self, problem: ConvProblem, params: Params, shared_bytes: int, thread_bytes: int) -> None: ...
    def pack(self, operands: Operands, threads: int) -> np.ndarray: ...
