import numpy as np

from .._algorithm import Operands, Params, Resources
from .._problem import ConvProblem

def scratch_bytes(dtype: str, depth: int, span: int, rows: int) -> int: ...
def correlate(
    problem: ConvProblem,
    params: Params,
    operands: Operands,
    resources: Resources,
    packed: object,
    packed_bytes: int,
    thread_bytes: int,
) -> None: ...
def packed_sizes(problem: ConvProblem, params: Params, operands: Operands) -> list[int]: ...
def pack(problem: ConvProblem, params: Params, operands: Operands, threads: int) -> np.ndarray: ...
def weight_gradient(
    problem: ConvProblem,
    params: Params,
    operands: Operands,
    resources: Resources,
    partial_bytes: int,
    thread_bytes: int,
) -> None: ...
