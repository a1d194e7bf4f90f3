"""spectral where its tiles matter: every size of tile, signals and images, its transforms, NaN, memory, choice."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu import backend
from fastconv._cpu.algorithms.fft_fused import blocking as fft_fused_blocking
from fastconv._cpu.engine import workspace
from fastconv._problem import DIRECTIONS
from operands import RESULT, compute, exact_case, rounded, shapes
from problems import describe, problems
from real_data import real_operands

LONG = (
    "2x3x500 4x3x33 p16",
    "1x1x9000 1x1x257 p128",
    "1x2x61x47 3x2x9x13 p4x6",
    "2x6x40x9 4x3x11x1 p5x0 g2",
    "1x5x23x31 5x1x7x9 p3x4 g5",
    "3x2x150x170 2x1x5x8 p2x3 g2",
    "5x8x90 8x8x5 d7 p14",
    "1x1x60x300 1x1x3x31 d4x3 p0x50",
    "3x2x17x16 8x2x6x5 p-2:3x4:-1 channels_last",
    "2x4x1000 4x1x65 p32 g4 channels_last",
)
SPECTRAL = find_algorithm("fft_fused")


def compute_with_tile(
    problem: ConvProblem, operands: dict[str, np.ndarray], params: dict[str, int], threads: int = 1
) -> np.ndarray:
    role = RESULT[problem.direction]
    result = np.full(shapes(problem)[role], 77, operands[next(iter(operands))].dtype)
    arrays = {name: array for name, array in operands.items() if name != role}
    plan = select.plan_for(problem, "fft_fused", threads, params)
    backend.execute(plan, Operands(**arrays, **{role: result}))
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", problems(LONG), ids=describe)
def test_every_tile(problem: ConvProblem, dtype: str) -> None:
    problem = problem.replace(dtype=dtype)
    operands, expected = exact_case(problem)
    for height in fft_fused_blocking.SIZES:
        for width in fft_fused_blocking.SIZES:
            params = {"height": height, "width": width}
            if fft_fused_blocking.tiling(problem, **params)[0][0] > 0 and height * width <= 2**14:
                assert (rounded(compute_with_tile(problem, operands, params)) == expected).all(), params


@pytest.mark.parametrize("size", fft_fused_blocking.SIZES)
def test_spectra_are_in_the_order_that_the_stages_leave(size: int) -> None:
    """The stages in NumPy, as fourier.h does them."""
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    made = fft_fused_blocking.transform(size, "float64")
    assert int(np.prod(made.radices)) == size
    data, twiddles, blocks = x.copy(), made.twiddles.reshape(-1, 2) @ [1, 1j], 1
    for radix in made.radices:
        part = size // blocks // radix
        turns = np.exp(-2j * np.pi / radix * np.outer(np.arange(radix), np.arange(radix)))
        data = np.einsum("kq,bqj->bkj", turns, data.reshape(blocks, radix, part))
        if part > 1:
            count = part * (radix - 1)
            data[:, 1:] *= twiddles[:count].reshape(part, radix - 1).T
            twiddles = twiddles[count:]
        blocks *= radix
    assert twiddles.size == 0
    np.testing.assert_allclose(data.ravel(), np.fft.fft(x)[fft_fused_blocking.frequencies(size)], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", problems(LONG), ids=describe)
def test_threads_do_not_change_the_bits(problem: ConvProblem, dtype: str) -> None:
    problem = problem.replace(dtype=dtype)
    operands = real_operands(problem, "normal")
    one = compute(problem, "fft_fused", operands, 1)
    for threads in (2, 5):
        assert compute(problem, "fft_fused", operands, threads).tobytes() == one.tobytes()


@pytest.mark.parametrize("problem", problems(LONG, directions=("forward", "backward_input")), ids=describe)
def test_packed_spectra_give_the_same_bits(problem: ConvProblem) -> None:
    operands = real_operands(problem, "normal")
    role = RESULT[problem.direction]
    plan = select.plan_for(problem, "fft_fused", 2)
    packed = backend.pack(plan.algorithm, problem, plan.params, operands["weight"], 2)
    assert packed is not None
    arrays = {name: array for name, array in operands.items() if name != role}
    result = np.empty(shapes(problem)[role], np.float32)
    backend.execute(plan, Operands(**arrays, **{role: result}, packed=packed))
    assert result.tobytes() == compute(problem, "fft_fused", operands, 2).tobytes()


def test_images_do_not_disturb_each_other() -> None:
    """Tiles are paired within an image: a quiet image beside a loud one is as exact as alone."""
    problem = ConvProblem.parse("forward 2x1x40x40 1x1x9x9 p4")
    operands = real_operands(problem, "normal")
    operands["input"][0] *= np.float32(1e10)
    both = compute(problem, "fft_fused", operands)
    alone = problem.replace(batch=1)
    quiet = compute(alone, "fft_fused", {"input": operands["input"][1:], "weight": operands["weight"]})
    assert both[1:].tobytes() == quiet.tobytes()


@pytest.mark.parametrize("shape", ["4x2x120x120 2x1x15x15 p7 g2", "1x1x100000 1x1x2000"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_memory_is_what_the_plan_says(direction: str, shape: str) -> None:
    problem = ConvProblem.parse(f"{direction} {shape}")
    plan = select.plan_for(problem, "fft_fused", 2)
    operands = real_operands(problem, "normal")
    result = np.empty(problem.result_shape, np.float32)
    compute(problem, "fft_fused", operands, 2, result)
    workspace.drop()
    tracemalloc.start()
    compute(problem, "fft_fused", operands, 2, result)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < plan.workspace_bytes + 1e6


def test_what_it_declines() -> None:
    for shape in (
        "1x3x8x8 4x3x1x1",
        "1x3x8x8 4x3x3x3 s2",
        "0x3x8x8 4x3x3x3",
        "1x3x8x8x8 4x3x3x3x3",
        "1x1x400x400 1x1x300x300",
    ):
        assert not SPECTRAL.supports(ConvProblem.parse(f"forward {shape}")), shape
    assert SPECTRAL.supports(ConvProblem.parse("forward 1x3x8x8 4x3x2x2 d2"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_is_chosen_where_it_wins(direction: str) -> None:
    """By the cost model: long kernels, large kernels of few channels."""
    for shape in (
        "1x1x65536 1x1x2048",
        "1x1x48000 1x1x129",
        "4x16x48000 16x1x1025 g16",
        "1x8x48000 8x8x513",
        "1x1x1024x1024 1x1x11x11",
        "1x1x1024x1024 1x1x41x41",
        "2x128x56x56 128x1x31x31 p15 g128",
        "1x16x128x128 16x16x11x11 p5",
    ):
        plan = select.plan_for(ConvProblem.parse(f"{direction} {shape}"), "auto", 1)
        assert plan.algorithm.name == "fft_fused", plan
    for shape in (
        "1x1x16 1x1x5",
        "8x64x56x56 64x64x3x3",
        "1x1x1024x1024 1x1x5x5",
        "1x1x65536 1x1x9",
        "4x3x99x99 8x3x3x3",
        "8x128x28x28 128x1x5x5 p2 g128",
    ):
        plan = select.plan_for(ConvProblem.parse(f"{direction} {shape}"), "auto", 1)
        assert plan.algorithm.name != "fft_fused", plan
