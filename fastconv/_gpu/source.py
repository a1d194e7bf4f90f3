"""A kernel's whole text, and the struct that tells it about a problem."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SHARED = ("device.cuh", "correlation.cuh", "epilogue.cuh")
"""What stands in front of every kernel, from ``csrc/``."""

CORRELATION = np.dtype(
    [
        *((f"{name}_stride", np.int64, 5) for name in ("source", "result", "add", "weight")),
        ("weight_group_stride", np.int64),
        *((f"{name}_at", np.int64) for name in ("source", "result", "add", "weight")),
        *((name, np.int32) for name in ("batch", "groups", "channels", "filters")),
        *((name, np.int32, 3) for name in ("pixels", "taps", "source_size", "step", "first", "delta")),
        ("slope", np.float32),
        ("reserved", np.int32),
    ]
)
"""fc_correlation of csrc/correlation.cuh; an array of one of these is passed to a kernel by value."""


def kernel_source(room: str, defines: Mapping[str, int | str], *more: str) -> str:
    """The text of a room's kernels. Parameters are #defines in it, not options of the compiler, since CuPy compiles
    once more for every set of options; ``more`` are further headers of ``csrc/``."""
    return source_of(f"algorithms/{room}/kernels.cu", defines, *SHARED, *more)


def source_of(path: str, defines: Mapping[str, int | str], *headers: str) -> str:
    """The text of the kernels in ``path``, behind #defines and headers of ``csrc/``."""
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    return head + "".join(_text(f"csrc/{name}") for name in headers) + _text(path)


@functools.cache
def _text(path: str) -> str:
    return (HERE / path).read_text(encoding="ascii")
