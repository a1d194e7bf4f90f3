"""``cupyx.scipy.fft``: Fourier transforms of device arrays, by SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from ...array import ndarray, on_device

_FACTORS = (2, 3, 5, 7)


def next_fast_len(target: int, real: bool = False) -> int:
    """The next length that cuFFT has fast code for: of the factors 2, 3, 5 and 7."""
    length = max(target, 1)
    while True:
        rest = length
        for factor in _FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def _transform(name: str, x: ndarray, size: Any, axes: Any, norm: Any, plan: Any) -> ndarray:
    if plan is not None:
        raise NotImplementedError("the stand-in has no plans")
    if x.dtype.name == "bfloat16":
        raise ValueError(f"Unsupported dtype {x.dtype}")
    function = getattr(scipy.fft, name)

    def compute(host: np.ndarray) -> np.ndarray:
        wide = host.astype(np.float32) if host.dtype == np.float16 else host
        return np.ascontiguousarray(function(wide, size, axes, norm=norm))

    return on_device(compute, (x,), {})  # type: ignore[no-any-return]


def rfftn(x: ndarray, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: bool = False, *,
          plan: Any = None) -> ndarray:  # fmt: skip
    """Of real data, along several axes."""
    return _transform("rfftn", x, s, axes, norm, plan)


def irfftn(x: ndarray, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: bool = False, *,
           plan: Any = None) -> ndarray:  # fmt: skip
    """The inverse of ``rfftn``."""
    return _transform("irfftn", x, s, axes, norm, plan)


def fftn(x: ndarray, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: bool = False, *,
         plan: Any = None) -> ndarray:  # fmt: skip
    """Along several axes."""
    return _transform("fftn", x, s, axes, norm, plan)


def ifftn(x: ndarray, s: Any = None, axes: Any = None, norm: Any = None, overwrite_x: bool = False, *,
          plan: Any = None) -> ndarray:  # fmt: skip
    """The inverse of ``fftn``."""
    return _transform("ifftn", x, s, axes, norm, plan)


def rfft(x: ndarray, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False, *,
         plan: Any = None) -> ndarray:  # fmt: skip
    """Of real data, along one axis."""
    return _transform("rfft", x, n, axis, norm, plan)


def irfft(x: ndarray, n: Any = None, axis: int = -1, norm: Any = None, overwrite_x: bool = False, *,
          plan: Any = None) -> ndarray:  # fmt: skip
    """The inverse of ``rfft``."""
    return _transform("irfft", x, n, axis, norm, plan)
