from collections.abc import Sequence

import numpy as np

from ..._windows import Windows
from ..engine.compiled_call import CompiledCall

def are_within(indices: np.ndarray, count: int) -> bool: ...
def maximum(
    windows: Windows, source: np.ndarray, result: np.ndarray, index: np.ndarray | None, threads: int
) -> None: ...
def average(windows: Windows, source: np.ndarray, result: np.ndarray, threads: int) -> None: ...
def average_gradient(windows: Windows, source: np.ndarray, result: np.ndarray, threads: int) -> None: ...
def maximum_gradient(
    windows: Windows, source: np.ndarray, result: np.ndarray, index: np.ndarray, threads: int
) -> None: ...

class PoolingCall(CompiledCall):
    def __init__(
        self,
        windows: Windows,
        dtype: np.dtype,
        kind: str,
        returns_indices: bool,
        source_axes: Sequence[int],
        result_axes: Sequence[int],
        result_shape: tuple[int, ...],
        threads: int,
    ) -> None: ...
