"""The arrays of one call, against each other: all in one place, and a result that fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import WITHOUT_MASK, as_array, is_cupys
from .._backend import backend_of
from .._errors import bad_type, unfit


def check_same_place(**arrays: Any) -> None:
    """A TypeError unless the arrays are all NumPy's, or all CuPy's on one device; the first one says which."""
    (first, array), *others = ((name, array) for name, array in arrays.items() if array is not None)
    for name, other in others:
        if type(other) is type(array) is np.ndarray:
            continue
        place, own = backend_of(array).place(array), backend_of(other).place(other)
        if own != place:
            raise bad_type(name, own, f"{place}, as {first} is; nothing is copied between them silently")


def check_out(out: Any, shape: Sequence[int], dtype: np.dtype, like: Any) -> Any:
    """``out`` if a result of ``shape`` and ``dtype`` can be written to it, where ``like`` lies."""
    backend = backend_of(like)
    is_array = isinstance(out, np.ndarray) or is_cupys(out)
    given = backend_of(out).place(out) if is_array else type(out).__name__
    if given != backend.place(like):
        raise bad_type("out", given, backend.place(like))
    if isinstance(out, np.ma.MaskedArray):
        raise bad_type("out", "a masked array", WITHOUT_MASK)
    if out.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise bad_type("out", f"dtype {out.dtype}", f"dtype {dtype}")
    if out.shape != tuple(shape):
        raise unfit("out", f"shape {out.shape}", f"shape {tuple(shape)}")
    as_array("out", out)
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise unfit("out", "a read-only array", "a writable array")
    return out
