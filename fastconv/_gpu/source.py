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
        ("slope", np.float64),
    ]
)
"""fc_correlation of csrc/correlation.cuh; an array of one of these is passed to a kernel by value."""


C_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "fc_half",
    "bfloat16": "fc_bfloat16",
    "complex64": "fc_complex<float>",
    "complex128": "fc_complex<double>",
    "bool": "fc_u8",
    "int8": "fc_i8",
    "int16": "short",
    "int32": "int",
    "int64": "fc_i64",
    "uint8": "fc_u8",
    "uint16": "fc_u16",
    "uint32": "fc_u32",
    "uint64": "fc_u64",
}
"""By dtype, what csrc/elements.cuh calls it."""
BESIDE_ALGORITHMS = ("elementwise", "pooling", "unfolding")


def kernel_source(room: str, defines: Mapping[str, int | str], *more: str) -> str:
    """The text of a room's kernels. Parameters are #defines in it, not options of the compiler, since CuPy compiles
    once more for every set of options; ``more`` are further headers of ``csrc/``."""
    folder = room if room in BESIDE_ALGORITHMS else f"algorithms/{room}"
    return source_of(f"{folder}/kernels.cu", defines, *SHARED, *more)


def source_of(path: str, defines: Mapping[str, int | str], *headers: str) -> str:
    """The text of the kernels in ``path``, behind #defines and headers of ``csrc/``."""
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    return head + "".join(_text(f"csrc/{name}") for name in headers) + _text(path)


DIVIDER = np.dtype([("d", np.uint32), ("multiplier", np.uint32), ("shift", np.uint32)])
"""fc_divider of csrc/device.cuh."""


def divider(d: int) -> tuple[int, int, int]:
    """n / d == umulhi(n, multiplier) >> shift for 0 <= n < 2^31."""
    if d == 1:
        return 1, 0, 0
    shift = (d - 1).bit_length() - 1
    return d, ((1 << (32 + shift)) + d - 1) // d, shift


@functools.cache
def _text(path: str) -> str:
    return (HERE / path).read_text(encoding="ascii")
