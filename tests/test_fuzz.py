"""The fuzzer of ``python -m bench fuzz`` for a while, with another seed every day; and that it would find something.

FASTCONV_FUZZ_SEED sets the seed, FASTCONV_FUZZ_SECONDS the length.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import textwrap
from pathlib import Path

import numpy as np
import pytest

import definitions
import fastconv
import pooling_cases
from emulated_cupy import nvrtc
from fastconv import ConvProblem
from fastconv._algorithm import Operands, Params, Resources
from fastconv._cpu.algorithms.im2col.algorithm import Im2col

ROOT = Path(__file__).parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("installed without bench", allow_module_level=True)

from bench.fuzz import coverage, device  # noqa: E402
from bench.fuzz.campaign import Campaign, fuzz  # noqa: E402
from bench.fuzz.case import Case  # noqa: E402
from bench.fuzz.check import check  # noqa: E402
from bench.fuzz.command import replay, seed_of_the_day  # noqa: E402
from bench.fuzz.definition import convolution_of, transposed_sizes  # noqa: E402
from bench.fuzz.generate import TURNS, generate  # noqa: E402
from bench.fuzz.memory import OUT_PLACES, PLACES, overlapping, place  # noqa: E402
from bench.fuzz.pools import axes_of  # noqa: E402
from bench.fuzz.windows import maxima, sums  # noqa: E402

SECONDS = float(os.environ.get("FASTCONV_FUZZ_SECONDS", "8"))
SEED = int(os.environ.get("FASTCONV_FUZZ_SEED", seed_of_the_day()))
ROUND = sum(TURNS.values())
"""Problems in which every function has had its turns."""


def test_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nfuzzing with FASTCONV_FUZZ_SEED={SEED}")
        report = fuzz(Campaign(SEED, SECONDS, min_problems=ROUND, jobs=2))
        print(report)
    assert not report.findings, "\n".join(map(str, report.findings))
    if report.problems > 3 * ROUND:  # in fewer all draws of one function may be refused; .ci/run has thousands
        assert not coverage.missing(report.counts, 1)
        for algorithm in coverage.available():
            assert sum(report.counts[f"algorithm {algorithm} {d}"] for d in coverage.DIRECTIONS) >= 3, algorithm
    if report.problems > 5 * ROUND:
        assert not coverage.missing(report.counts, 10, coverage.available())


@pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
def test_nothing_is_found_on_the_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's backend on the stand-in for CuPy, or on CuPy where there is a device."""
    monkeypatch.setenv(device.VARIABLE, "gpu")
    with capsys.disabled():
        report = fuzz(Campaign(SEED, SECONDS / 4, min_problems=10, jobs=2))
        print(f"\n{report}")
    assert not report.findings, "\n".join(map(str, report.findings))
    assert report.counts["calls"] > 20


def test_every_public_function_is_drawn() -> None:
    """All that convolves or pools: what is in no module of settings, and the single gradients.

    Normalizations, activations, tiles and shapes have tests of their own: test_normalization, test_nn_random,
    test_tiling, test_output_shape.
    """
    settings = (
        "_config",
        "tuning",
        "runtime",
        "functional.normalization",
        "functional.activation",
        "tiling",
        "functional.shapes",
    )
    public = {
        name
        for name, function in vars(fastconv).items()
        if inspect.isfunction(function) and function.__module__.removeprefix("fastconv.") not in settings
        if not name.startswith("__")
    }
    public |= {f"grad.{name}" for name, function in vars(fastconv.grad).items() if inspect.isfunction(function)}
    assert public == set(coverage.functions())


def test_cases_are_what_their_text_says() -> None:
    for number in range(2 * ROUND):
        case = generate(SEED, number)
        assert Case.parse(str(case)) == case


def test_cases_reach_far() -> None:
    """Large reductions through strided transposed kernels, and strides and dilations that differ by axis.

    Of a seed that stays: a day's few cases may have less of one kind.
    """
    cases = [generate(1, number) for number in range(4 * ROUND)]
    strided = [case for case in cases if case.is_transposed and max(case.stride) > 1]
    assert sum(case.filters * np.prod(case.kernel) > 1000 for case in strided) >= 5
    mixed = [
        case
        for case in cases
        if case.function == "conv*d"
        and any(s == 1 and d > 1 for s, d in zip(case.stride, case.dilation, strict=True))
        and any(s > 1 and d == 1 for s, d in zip(case.stride, case.dilation, strict=True))
    ]
    assert len(mixed) >= 5
    assert {case.place_of("x") for case in cases} == set(PLACES)
    assert {case.out for case in cases} == {None, *OUT_PLACES}


def test_the_definition_is_that_of_the_tests() -> None:
    """Tap by tap equals position by position."""
    rng = np.random.default_rng(SEED)
    checked = 0
    for number in range(3 * ROUND):
        case = generate(SEED, number)
        if case.function not in ("conv*d", "conv_transpose*d") or case.padding_mode != "zeros" or case.batch == 0:
            continue
        case = case.replace(size=tuple(min(size, 9) for size in case.size), channels=min(case.channels, 3))
        case = case.replace(filters=min(case.filters, 3), groups=min(case.groups, 2), batch=1)
        found = convolution_of(case)
        if case.is_transposed and min(transposed_sizes(case)) < 1:
            continue
        sizes = transposed_sizes(case) if case.is_transposed else case.size
        outputs = case.size if case.is_transposed else found.output_sizes(case.size)
        if min(outputs) < 1 or min(sizes) < 1 or np.prod(outputs) > 700:
            continue
        x = definitions.integers(rng, (case.batch, case.channels * case.groups, *sizes))
        w = definitions.integers(rng, (case.filters * case.groups, case.channels, *case.kernel))
        dy = definitions.integers(rng, (case.batch, case.filters * case.groups, *outputs))
        wanted = definitions.Convolution(case.stride, found.pads, case.dilation, case.groups)
        np.testing.assert_array_equal(found.forward(x, w), wanted.forward(x, w))
        np.testing.assert_array_equal(found.input_gradient(dy, x.shape, w), wanted.input_gradient(dy, x, w))
        np.testing.assert_array_equal(found.weight_gradient(dy, x), wanted.weight_gradient(dy, x, w))
        checked += 1
    assert checked >= 10


def test_the_windows_are_those_of_the_tests() -> None:
    checked = 0
    for number in range(3 * ROUND):
        case = generate(SEED, number)
        if case.function not in ("max_pool*d", "avg_pool*d", "adaptive_max_pool*d") or isinstance(case.padding, str):
            continue
        axes = axes_of(case)
        if case.batch == 0 or np.prod([len(axis.starts) for axis in axes]) > 500:
            continue
        x = pooling_cases.real_values(case.seed, (1, 2, *case.size), "float64")
        if case.function.startswith("adaptive"):
            settings = {"output_size": case.output_size}
        else:
            settings = {"kernel_size": case.kernel, "padding": case.padding, "dilation": case.dilation}
            settings |= {"ceil_mode": case.ceil_mode} | ({} if case.default_stride else {"stride": case.stride})
        wanted = pooling_cases.PoolCase(case.name.rstrip("123d"), x, settings)
        for found, expected in zip(maxima(x, axes), wanted.maxima(), strict=True):
            np.testing.assert_array_equal(found, expected)
        whole = np.nan_to_num(x, posinf=1, neginf=1)
        np.testing.assert_array_equal(
            sums(whole, axes), pooling_cases.PoolCase(case.name.rstrip("123d"), whole, settings).sums()
        )
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("where", PLACES)
def test_writes_around_an_array_are_seen(where: str) -> None:
    rng = np.random.default_rng(0)
    placed = place(np.ones((2, 3, 4), np.float32), where, rng)
    assert (placed.array.max(), placed.is_unchanged()) == (1, True)
    if placed.array.flags.writeable:
        placed.array[...] = 2
        assert placed.surroundings_are_unchanged()
        assert (placed.array == 2).all()
        assert not placed.is_unchanged()
    outside = np.flatnonzero(placed.memory == 0xFF)
    if where in ("page_end", "page_start"):
        outside = outside[:: max(len(outside) - 1, 1)]
    placed.memory[outside[0]] ^= 1
    assert not placed.is_unchanged()
    if placed.array.flags.writeable:
        assert not placed.surroundings_are_unchanged()


def test_overlapping_arrays_overlap() -> None:
    rng = np.random.default_rng(0)
    array = place(np.arange(24.0), "plain", rng)
    pairs = [overlapping((24,), array, rng) for _ in range(20)]
    assert sum(np.may_share_memory(one.array, out) for one, out in pairs) >= 15


def wrong(problem: ConvProblem, operands: Operands, threads: int) -> None:
    if problem.stride[2] == 2 and problem.dilation[2] == 1:
        operands.output[..., -1] += 1


def other_on_three_threads(problem: ConvProblem, operands: Operands, threads: int) -> None:
    if threads == 3 and problem.dtype == "float32":
        operands.output[...] *= np.float32(1 + 2e-7)


def spoiling(problem: ConvProblem, operands: Operands, threads: int) -> None:
    if operands.weight.flags.writeable:
        operands.weight[:1] = 0


def overrunning(problem: ConvProblem, operands: Operands, threads: int) -> None:
    memory = operands.output
    while memory.base is not None:
        memory = memory.base
    if memory.dtype == "uint8":  # not in memory of the allocator's, which would not survive it
        ctypes.memset(memory.ctypes.data, 0, 1)


FAULTS = {"wrong": wrong, "threads": other_on_three_threads, "input modified": spoiling, "guard": overrunning}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Im2col.execute

    def execute(self: Im2col, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        plain(self, problem, params, operands, resources)
        if problem.direction == "forward":
            FAULTS[kind](problem, operands, resources.threads)

    monkeypatch.setattr(Im2col, "execute", execute)
    cases = (generate(7, number, ("conv1d", "conv2d")) for number in range(200))
    found = (failure for case in cases for failure in check(case.replace(algorithm="im2col")).failures)
    assert (kind, "im2col") in ((failure[0], failure[1]) for failure in found)


PLANTED = {
    "wrong": """
        def fault(problem, operands):
            if problem.direction == "forward" and max(problem.stride) == 2:
                operands.output[..., -1] += 1
    """,
    "crash SIGABRT": """
        import os

        def fault(problem, operands):
            if problem.direction == "forward" and max(problem.kernel_size) > 4:
                os.abort()
    """,
}
PLANT = """
from fastconv._cpu.algorithms.im2col.algorithm import Im2col

plain = Im2col.execute

def execute(self, problem, params, operands, resources):
    plain(self, problem, params, operands, resources)
    fault(problem, operands)

Im2col.execute = execute
"""


@pytest.mark.parametrize("kind", PLANTED)
def test_a_finding_is_shrunk_to_a_line_that_repeats_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(PLANTED[kind]) + PLANT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(fastconv.__file__).parent.parent)]))
    report = fuzz(Campaign(7, 300, max_findings=1, shrink_seconds=30, functions=("conv1d",)))
    found = report.findings[0]
    assert (found.failure.kind, found.failure.algorithm) == (kind, "im2col")
    assert "fastconv verify" in found.line
    assert found.line.endswith("--algorithm im2col")
    assert max(found.case.size) < 12
    assert replay(str(found.case)) == 1
    monkeypatch.delenv("PYTHONPATH")
    assert replay(str(found.case)) == 0
    assert kind in capsys.readouterr().out
