from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._plan import Plan
from .compiled_call import CompiledCall

class Carry:
    def __init__(
        self,
        carry: int,
        size: tuple[int, ...],
        split: int,
        source: Any,
        result: Any,
        index: tuple[Any, ...] = ...,
        is_source_index: bool = True,
    ) -> None: ...

class ConvolutionCall(CompiledCall):
    plan: Plan
    bytes: int
    def __init__(
        self,
        plan: Plan,
        kernel: object | None,
        result_role: str,
        axes: Mapping[str, tuple[int, ...]],
        result_shape: tuple[int, ...],
        dtype: np.dtype,
        itemsize: int,
        scratch_bytes: int,
        scratch: Mapping[str, Any],
        before: tuple[Carry, ...],
        after: tuple[Carry, ...],
        is_folded: bool,
        checks_weight: bool,
        views: Any,
    ) -> None: ...
    def at(self, places: Mapping[str, int]) -> ConvolutionCall: ...
