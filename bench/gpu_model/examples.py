"""The kernels of tests/gpu_kernels on layers; small launches on the stand-in for CuPy give their bank conflicts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import emulated_cupy
import gpu_kernels
from emulated_cupy import nvrtc, ptx
from gpu_kernels import Launcher

from .chips import Chip, Wavefronts
from .launches import Code, Launch, steps_of_main_loop
from .memory_bound import LayerExample, layer_examples
from .sass import disassemble


@dataclass(frozen=True)
class Example:
    """A kernel on a layer."""

    name: str
    layer: str
    kernel: str
    defines: dict[str, int]
    launch: Launch
    ceiling: str
    """What its rate is compared with: "copy", "FFMA", "HMMA", "HGMMA"."""

    def runs_on(self, chip: Chip) -> bool:
        """Whether the chip has its instructions."""
        return int(chip.architecture[3:]) == 90 if self.ceiling == "HGMMA" else True

    def code(self, chip: Chip) -> Code:
        """Its machine code for the chip."""
        arch = chip.architecture + ("a" if self.ceiling == "HGMMA" else "")
        return compiled(gpu_kernels.source(self.kernel, **self.defines), self.kernel, arch)


@cache
def compiled(source: str, kernel: str, arch: str) -> Code:
    """A kernel's machine code for an architecture."""
    cubin = nvrtc.cubin(source, arch)
    used = nvrtc.resources(cubin)[kernel]
    return Code(disassemble(cubin), used.registers, used.local_bytes, used.shared_bytes)


def wavefronts(counts: ptx.Counts) -> Wavefronts:
    """Per warp instruction that loads from shared memory or stores there, of a launch that was run."""
    sums: dict[str, tuple[int, int]] = {}
    for access in counts.accesses():
        words = access.text.split(" ")[1 if access.text.startswith("@") else 0].split(".")
        if words[0] not in ("ld", "st") or "shared" not in words:
            continue
        name = f"{'LDS' if words[0] == 'ld' else 'STS'}.{max(1, access.least // max(access.executed, 1))}"
        moved, executed = sums.get(name, (0, 0))
        sums[name] = moved + access.moved, executed + access.executed
    return {name: moved / executed for name, (moved, executed) in sums.items()}


def counted(run: Callable[[Launcher, Any], object], kernel: str) -> Wavefronts:
    """Those of a small launch."""
    with emulated_cupy.pretend(devices=("H200",)) as system:
        run(Launcher(emulated_cupy), emulated_cupy)
        return wavefronts(system.last_launch[kernel])


def _ones(cp: Any, *shape: int, dtype: Any = np.float32) -> Any:
    return cp.ones(shape, dtype)


def patch() -> Example:
    """Dense 3 x 3, bfloat16 by mma.sync; tiles of 2 x 56 pixels."""
    n, c, h, w, k = 32, 256, 56, 56, 256
    blocks, words = n * h // 2 * (k // 128), gpu_kernels.DEFAULTS["patch_mma"]["PATCH"]
    l2 = blocks * c // 16 * (8 * words * 4 + 9 * 128 * 32)
    conflicts = counted(
        lambda launcher, cp: launcher.patch_mma(
            _ones(cp, 1, 32, 4, 56, dtype=np.uint16), _ones(cp, 128, 32, 3, 3, dtype=np.uint16), pad=1, tile=(2, 56)
        ),
        "patch_mma",
    )
    shared, multiply_adds = 3 * 3 * 128 * 32 + 2 * 8 * words * 4, n * h * w * k * c * 9
    moved = 2 * (n * c * h * w + k * c * 9 + n * k * h * w)
    launch = Launch(256, blocks, shared, 2 * multiply_adds, moved, l2, steps_of_main_loop(c // 16), conflicts)
    return Example("patch_mma", "32x256x56x56 -> 256, 3x3", "patch_mma", gpu_kernels.DEFAULTS["patch_mma"], launch,
                   "HMMA")  # fmt: skip


def wgmma() -> Example:
    """Dense 3 x 3, bfloat16 by tensor copies and wgmma; tiles of 2 x 64 pixels."""
    n, c, h, w, k = 32, 256, 56, 56, 256
    blocks, steps = n * h // 2 * (k // 128), c // 64 * 9
    launch = Launch(288, blocks, 4 * 32768, 2 * n * h * w * k * c * 9, 2 * (n * c * h * w + k * c * 9 + n * k * h * w),
                    blocks * steps * 32768, steps_of_main_loop(steps), {})  # fmt: skip
    return Example("wgmma_conv", "32x256x56x56 -> 256, 3x3", "wgmma_conv", gpu_kernels.DEFAULTS["wgmma_conv"], launch,
                   "HGMMA")  # fmt: skip


def examples() -> list[Example | LayerExample]:
    """All of them."""
    return [*layer_examples(), patch(), wgmma()]
