from collections.abc import Sequence

import numpy as np

from ..engine.compiled_call import Launch

def channel_sums(array: np.ndarray, threads: int) -> np.ndarray: ...

class SumsLaunch(Launch):
    def __init__(self, source: int, axes: Sequence[int], dtype: np.dtype, threads: int) -> None: ...
