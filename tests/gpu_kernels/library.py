"""Variants of winograd's kernels, and of those beside libraries' steps: what gates and tables are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.fft import spectra
from fastconv._gpu.algorithms.fft.tiling import Tiling
from fastconv._gpu.algorithms.gemm.products import Builder
from fastconv._gpu.algorithms.winograd import ALGORITHMS
from fastconv._gpu.launch import Launch
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "library_resources.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
MAX_REGISTERS = 168
"""Of products of spectra in float64, with three blocks of 128 threads; others have less."""
GEMM = (
    "forward 2x8x9x9 8x8x3x3 p1 +bias+add+gelu",
    "forward 2x8x9x9 8x8x3x3 p1 channels_last bfloat16 +bias",
    "backward_input 2x8x9x9 8x8x3x3 s2 p1",
    "backward_input 2x8x9x9 8x8x3x3 p1 channels_last float64",
    "backward_weight 2x8x40x40 8x8x3x3 float16",
    "backward_weight 2x3x40x40 8x3x7x7 s2 p3 bfloat16",
)


FFT = (
    "forward 8x8x99 8x8x9 +bias+add+gelu",
    "forward 1x8x99 8x1x9 g8 bfloat16",
    "backward_weight 1x8x99 8x8x9 float64",
)


WINOGRAD = ("forward 2x8x9x9 8x8x3x3 p1", "backward_input 2x8x9x9 8x8x3x3 p1 channels_last +bias+add+gelu")
NONFUSED = ("backward_weight 4x64x56x56 64x64x3x3 p1", "forward 2x8x9x12 8x8x3x3 p1 +bias+add+gelu")


def _gemm() -> Iterator[Variant]:
    for text in GEMM:
        problem = ConvProblem.parse(text)
        seen: set[str] = set()
        for step in Builder(Operation.contiguous(problem), 2, False).build():
            if isinstance(step, Launch) and step.source not in seen:
                seen.add(step.source)
                along = "pixels" if "ALONG PIXELS" in step.source else "channels"
                name = f"{step.kernel},{along},{problem.direction},{problem.dtype},{len(seen)}"
                yield Variant(name, step.kernel, step.source, from_architecture(75))


def _fft() -> Iterator[Variant]:
    for text in FFT:
        problem = ConvProblem.parse(text)
        seen: set[str] = set()
        for step in spectra.Builder(Operation.contiguous(problem), Tiling.of(problem, 32), 0).build():
            if isinstance(step, Launch) and step.kernel.startswith("fft") and step.source not in seen:
                seen.add(step.source)
                name = f"{step.kernel},{problem.direction},{problem.dtype},{len(seen)}"
                yield Variant(name, step.kernel, step.source, from_architecture(75))


def _winograd() -> Iterator[Variant]:
    for text in WINOGRAD:
        problem = ConvProblem.parse(text)
        pack, correlate = ALGORITHMS[0].launches(Operation.contiguous(problem), {})[:2]
        assert isinstance(correlate, Launch)
        name = f"{correlate.kernel},{problem.direction},{problem.layout}"
        yield Variant(name, correlate.kernel, correlate.source, from_architecture(80))
    assert isinstance(pack, Launch)
    yield Variant(pack.kernel, pack.kernel, pack.source, from_architecture(80))


def _winograd_nonfused() -> Iterator[Variant]:
    """Transforms along tiles and along channels; those of smaller tiles take less."""
    seen: set[str] = set()
    for tile_size, text in ((6, NONFUSED[0]), (6, NONFUSED[1]), (6, WINOGRAD[1]), (4, NONFUSED[1])):
        problem = ConvProblem.parse(text)
        params = {"tile_size": tile_size, "slice_bytes": 2**29}
        for step in ALGORITHMS[1].launches(Operation.contiguous(problem), params):
            if isinstance(step, Launch) and not step.kernel.startswith("reference") and step.source not in seen:
                seen.add(step.source)
                name = f"{step.kernel},{problem.direction},{problem.layout},F{tile_size - 2},{len(seen)}"
                yield Variant(name, step.kernel, step.source, from_architecture(75))


VARIANTS = (*_gemm(), *_fft(), *_winograd(), *_winograd_nonfused())
