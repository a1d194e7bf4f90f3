"""Example kernels, and how a backend would call them; variants of all kernels. ``cp`` is CuPy or its stand-in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._gpu.source import divider
from nvrtc_gate import Variant, from_architecture

from . import implicit_gemm

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "fastconv" / "_gpu" / "csrc"
DEFAULTS = {
    "patch_mma": {"BM": 128, "BN": 128, "R": 3, "S": 3, "STAGES": 3, "PATCH": 232},
}
"""Parameters of every kernel."""
RESOURCES = HERE / "resources.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""


def device_source() -> str:
    """The primitives that stand in front of every kernel."""
    return (SHARED / "device.cuh").read_text()


def source(name: str, **defines: int) -> str:
    """A kernel's whole text. Parameters stand in it, not in options: CuPy compiles once more per set of options."""
    head = "".join(f"#define {key} {value}\n" for key, value in defines.items())
    return head + device_source() + (HERE / f"{name}.cu").read_text()


VARIANTS = (
    Variant("patch_mma", "patch_mma", source("patch_mma"), from_architecture(80)),
    *implicit_gemm.variants(),
)


def struct(*fields: int | tuple[int, ...]) -> np.ndarray:
    """Integers as one argument that is passed by value."""
    flat = [part for field in fields for part in (field if isinstance(field, tuple) else (field,))]
    return np.array([tuple(flat)], [(f"f{i}", np.uint32) for i in range(len(flat))]).view(f"V{4 * len(flat)}")


@cache
def _function(cp: Any, name: str, text: str) -> Any:
    return cp.RawModule(code=text).get_function(name)


class Launcher:
    """Calls the kernels; ``edit`` changes their text before, for tests of the tests."""

    def __init__(self, cp: Any, edit: Callable[[str], str] = lambda text: text) -> None:
        self.cp, self._edit = cp, edit

    def _function(self, name: str, **defines: int) -> Any:
        return _function(self.cp, name, self._edit(source(name, **defines)))

    def patch_mma(self, x: Any, w: Any, bias: Any = None, pad: int = 0, dilation: int = 1,
                  tile: tuple[int, int] = (8, 16), bm: int = 128, stages: int = 3) -> Any:  # fmt: skip
        """A dense convolution of stride 1; ``x`` and ``w`` are uint16 arrays of bfloat16's bits."""
        n, c, h, width = x.shape
        k, _, r, s = w.shape
        p, q = (size + 2 * pad - dilation * (taps - 1) for size, taps in ((h, r), (width, s)))
        y = self.cp.empty((n, k, p, q), np.uint16)
        (th, tw), packed = tile, self._pack_by_channels(w)
        patch_h, patch_w = th + dilation * (r - 1), tw + dilation * (s - 1)
        pitch = (patch_h * patch_w - 8 + 31) // 32 * 32 + 8
        tiles_h, tiles_w = -(-p // th), -(-q // tw)
        size = struct(c, h, width, k, p, q, pad, pad, dilation, dilation, th, tw, tiles_h, tiles_w, patch_w,
                      patch_h * patch_w, divider(tw), divider(patch_w), divider(tiles_w),
                      divider(tiles_h * tiles_w))  # fmt: skip
        kernel = self._function("patch_mma", BM=bm, BN=128, R=r, S=s, STAGES=stages, PATCH=pitch)
        kernel.max_dynamic_shared_size_bytes = shared = stages * s * bm * 32 + 2 * 8 * pitch * 4
        kernel((n * tiles_h * tiles_w, -(-k // bm)), (256,), (x, packed, bias, y, size), shared_mem=shared)
        return y

    def _pack_by_channels(self, w: Any) -> Any:
        """Weights as (block of 16 channels, r, s, filter, channel)."""
        k, c, r, s = w.shape
        packed = self.cp.zeros((-(-c // 16), r, s, k, 16), np.uint16)
        for b in range(len(packed)):
            part = w[:, b * 16 : b * 16 + 16]
            packed[b, :, :, :, : part.shape[1]] = part.transpose(2, 3, 0, 1)
        return packed
