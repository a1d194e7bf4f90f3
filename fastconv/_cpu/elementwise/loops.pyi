from collections.abc import Sequence

import numpy as np

from ..engine.compiled_call import CompiledCall

CARRIES: dict[str, int]

def cast(array: np.ndarray, dtype: np.dtype, threads: int) -> np.ndarray: ...
def cast_into(array: np.ndarray, result: np.ndarray, threads: int) -> None: ...
def channel_sums(array: np.ndarray, threads: int) -> np.ndarray: ...

class SumsCall(CompiledCall):
    def __init__(self, source: int, axes: Sequence[int], dtype: np.dtype, threads: int) -> None: ...
