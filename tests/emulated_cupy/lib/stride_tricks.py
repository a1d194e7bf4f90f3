"""``cupy.lib.stride_tricks``: views with any strides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import ndarray, on_device


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view of the array's memory."""
    view = np.lib.stride_tricks.as_strided(x._host, shape, strides)
    return ndarray._view(view, x)


def sliding_window_view(x: ndarray, window_shape: Any, axis: Any = None, *, subok: bool = False,
                        writeable: bool = False) -> ndarray:  # fmt: skip
    """All windows of a shape."""
    function = np.lib.stride_tricks.sliding_window_view
    return on_device(function, (x, window_shape), {"axis": axis})  # type: ignore[no-any-return]
