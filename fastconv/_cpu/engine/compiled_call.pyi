from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..._plan import Plan

class Launch: ...

class ConvLaunch(Launch):
    def __init__(
        self,
        plan: Plan,
        kernel: object | None,
        compute: Callable[[tuple[Any, ...]], np.ndarray],
        result_role: str,
        roles: Mapping[str, int],
        axes: Mapping[str, tuple[int, ...]],
        result_shape: tuple[int, ...],
        dtype: np.dtype,
        checks_weight: bool,
    ) -> None: ...

class GradientsLaunch(Launch):
    def __init__(self, *parts: Launch | None) -> None: ...
