"""The example kernels against NumPy, exactly, on small integers; what was changed is found; what all kernels take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nvrtc_gate
from emulated_cupy import nvrtc
from gpu_kernels import Launcher, few_channels, implicit_gemm_mma, library, memory_bound, plain, wgmma
from gpu_kernels.tables import TABLES

needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)


def convolution(x: np.ndarray, w: np.ndarray, stride: int = 1, pad: int = 0, dilation: int = 1) -> np.ndarray:
    """The definition, in float64."""
    (n, _, h, width), (k, _, r, s) = x.shape, w.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))).astype(np.float64)
    p, q = ((size + 2 * pad - dilation * (taps - 1) - 1) // stride + 1 for size, taps in ((h, r), (width, s)))
    y = np.zeros((n, k, p, q))
    for i in range(r):
        for j in range(s):
            rows = slice(i * dilation, i * dilation + stride * (p - 1) + 1, stride)
            columns = slice(j * dilation, j * dilation + stride * (q - 1) + 1, stride)
            y += np.einsum("nchw,kc->nkhw", x[:, :, rows, columns], w[:, :, i, j].astype(np.float64))
    return y


def integers(seed: int, *shape: int, most: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.float32)


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Its bits, rounded to nearest even."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _skip_below(cp: Any, least: int) -> None:
    capability = int(cp.cuda.Device().compute_capability)
    if capability < least:
        pytest.skip(f"a device of {capability}")


@pytest.mark.parametrize(
    ("x_shape", "filters", "taps", "settings"),
    [
        ((1, 32, 17, 19), 72, 3, {"pad": 1}),
        ((2, 24, 14, 14), 130, 3, {"pad": 1, "tile": (9, 14)}),
        ((1, 16, 12, 12), 64, 3, {"pad": 2, "dilation": 2, "bm": 64, "stages": 4}),
    ],
)
def test_patch_mma(cp: Any, x_shape: Any, filters: int, taps: int, settings: dict[str, Any]) -> None:
    _skip_below(cp, 80)
    x, w = integers(0, *x_shape, most=2), integers(1, filters, x_shape[1], taps, taps, most=1)
    bias = integers(2, filters)
    arrays = cp.asarray(bfloat16(x)), cp.asarray(bfloat16(w)), cp.asarray(bias)
    y = Launcher(cp).patch_mma(*arrays, **settings).get()
    geometry = {name: value for name, value in settings.items() if name in ("pad", "dilation")}
    np.testing.assert_array_equal(y, bfloat16(convolution(x, w, **geometry) + bias[:, None, None]))


OFTEN = ("sm_75", "sm_90", "sm_90a")
"""The oldest and the newest with instructions of their own; the others take as long as all other gates."""


@needs_nvrtc
@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)], ids=["short", "full"])
@pytest.mark.parametrize("name", TABLES)
def test_every_architecture_compiles_them_to_what_the_table_says(name: str, is_full: bool) -> None:
    """After a change of a kernel: ``python tests/nvrtc_gate.py``, and look at what has become of the table."""
    variants, path = TABLES[name]
    table = nvrtc_gate.Table.read(path)
    assert set(table.rows) == {(v.name, arch) for v in variants for arch in v.architectures}
    chosen = [tuple(arch for arch in v.architectures if (arch not in OFTEN) == is_full) for v in variants]
    here = [replace(v, architectures=architectures) for v, architectures in zip(variants, chosen, strict=True)]
    for key, found in nvrtc_gate.compile_all(here).items():
        assert isinstance(found, nvrtc.Resources), f"{key}: {found}"
        assert table.allows(key, found), f"{key}: {found}, written {table.rows[key]}"


def test_products_of_tensor_cores_keep_all_in_registers() -> None:
    for table in (few_channels.TABLE, implicit_gemm_mma.TABLE):
        assert {used.local_bytes for used in nvrtc_gate.Table.read(table).rows.values()} == {0}


def test_plain_kernels_spill_nothing() -> None:
    assert {used.local_bytes for used in nvrtc_gate.Table.read(plain.RESOURCES).rows.values()} == {0}


def test_memory_bound_kernels_keep_their_budget() -> None:
    for budget in (memory_bound, library):
        for key, used in nvrtc_gate.Table.read(budget.TABLE).rows.items():
            assert used.registers <= budget.MAX_REGISTERS, key
            assert used.local_bytes == 0, key


@needs_nvrtc
def test_the_table_is_compared(tmp_path: Path) -> None:
    key, few = ("k", "sm_80"), nvrtc.Resources(40, 0, 0)
    spills = nvrtc.Resources(40, 400, 0)
    for version in (nvrtc.version(), (1, 0)):
        nvrtc_gate.Table(version, {key: few}).write(tmp_path / "table.txt")
        table = nvrtc_gate.Table.read(tmp_path / "table.txt")
        assert table == nvrtc_gate.Table(version, {key: few})
        assert table.allows(key, few)
        assert not table.allows(key, spills)


@needs_nvrtc
def test_what_an_architecture_lacks_does_not_compile() -> None:
    with pytest.raises(nvrtc.CompileError, match="wgmma"):
        nvrtc.cubin(wgmma.VARIANTS[0].source, "sm_90")


MUTATIONS = [
    # kernel, what is changed, into what: each must change the result or be reported
    ("patch_mma", "fc_copy_wait<STAGES - 2>();", "fc_copy_wait<STAGES - 1>();"),
    ("patch_mma", "__syncthreads(); // the stage", "// the stage"),
    ("patch_mma", "lane >> 4) ^ (a_row", "lane >> 4) ^ 1 ^ (a_row"),
]


@needs_nvrtc
@pytest.mark.parametrize(("name", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(name: str, old: str, new: str) -> None:
    """A wait, a barrier, a bit of a swizzle, the number of a buffer: reported, or the result is wrong."""
    import emulated_cupy as cp

    def edit(text: str) -> str:
        assert text.count(old) == 1
        return text.replace(old, new)

    launcher, x, w = Launcher(cp, edit), integers(0, 1, 64, 8, 56, most=2), integers(1, 64, 64, 3, 3, most=1)
    expected = bfloat16(convolution(x, w, pad=1))
    try:
        y = getattr(launcher, name)(cp.asarray(bfloat16(x)), cp.asarray(bfloat16(w)), pad=1, tile=(2, 56)).get()
    except cp.KernelError:
        return
    assert (y != expected).any()
