import numpy as np

from .._algorithm import Operands, Params
from .._problem import ConvProblem
from ._bound import Kernel

ELEMENTS: dict[str, int]

def is_available() -> bool: ...
def rate() -> float: ...
def sum_roundoffs() -> float: ...

class SplitKernel(Kernel):
    shared_bytes: int
    thread_bytes: int
    def __init__(self, problem: ConvProblem, params: Params) -> None: ...
    def pack(self, operands: Operands, threads: int) -> np.ndarray: ...
