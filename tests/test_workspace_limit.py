"""What a call takes beside its arrays stays within the workspace limit, copies that it has to make included."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _config
from fastconv._algorithm import MAX_PHASES
from fastconv._choose.select import forget_plans, plan_for
from fastconv._cpu.engine import workspace
from operands import ALGORITHMS, accepted, compute, exact_case
from problems import describe, named, problems
from subprocesses import output_of

MIB = 2**20
LIMIT = 2 * MIB
SLACK = MIB
"""Python's objects, stacks of threads, and pages of which a part is used."""

# One statement that makes the arrays, and one call; `a` makes random arrays. Results are counted apart.
CALLS = {
    "int8": ("x, w = a((8, 64, 64, 64), 'i1'), a((32, 64, 3, 3), 'i1')", "f.conv2d_integer(x, w, 3, padding=1)"),
    "complex64": ("x, w = a((2, 64, 64, 64), 'c8'), a((16, 64, 3, 3), 'c8')", "f.conv2d(x, w, padding=1)"),
    "complex64 dx": (
        "x, w = a((2, 64, 64, 64), 'c8'), a((64, 16, 3, 3), 'c8')",
        "g.conv2d_input((2, 16, 64, 64), w, x, padding=1)",
    ),
    "complex64 dw": ("x = a((2, 32, 64, 64), 'c8')", "g.conv2d_weight(x, (32, 32, 3, 3), x, padding=1)"),
    "float16": ("x, w = a((16, 32, 64, 64), 'f2'), a((32, 32, 3, 3), 'f2')", "f.conv2d(x, w, padding=1)"),
    "float16 dw": ("x = a((16, 32, 64, 64), 'f2')", "g.conv2d_weight(x, (32, 32, 3, 3), x, padding=1)"),
    "one float16 image": ("x, w = a((1, 4, 1024, 1024), 'f2'), a((4, 4, 3, 3), 'f2')", "f.conv2d(x, w, padding=1)"),
    "float16 signal": ("x, w = a((1, 1, 2**22), 'f2'), a((1, 1, 31), 'f2')", "f.conv1d(x, w, padding=15)"),
    "float16 strided": (
        "x, w = a((1, 4, 512, 512), 'f2'), a((4, 4, 3, 3), 'f2')",
        "f.conv_transpose2d(x, w, stride=2, padding=1)",
    ),
    "float16 weights": ("x, w = a((1, 512, 4, 4), 'f2'), a((512, 512, 3, 3), 'f2')", "f.conv2d(x, w, padding=1)"),
    "float16 groups": (
        "x, w = a((1, 64, 128, 128), 'f2'), a((64, 1, 3, 3), 'f2')",
        "f.conv2d(x, w, padding=1, groups=64)",
    ),
    "float16 epilogue": (
        "x, w, b = a((16, 32, 64, 64), 'f2'), a((32, 32, 3, 3), 'f2'), a(32, 'f2')",
        "f.conv2d(x, w, b, padding=1, add=x, activation='gelu')",
    ),
    "reflect": ("x, w = a((4, 64, 64, 64)), a((16, 64, 3, 3))", "f.conv2d(x, w, padding=1, padding_mode='reflect')"),
    "replicate": (
        "x, w = a((1, 4, 1024, 1024)), a((4, 4, 3, 3))",
        "f.conv2d(x, w, padding=1, padding_mode='replicate')",
    ),
    "circular backward": (
        "x, w = a((8, 32, 64, 64)), a((32, 32, 3, 3))",
        "f.conv2d_backward(x, x, w, padding=1, padding_mode='circular')",
    ),
    "byte-swapped": ("x, w = a((8, 32, 64, 64), '>f4'), a((32, 32, 3, 3))", "f.conv2d(x, w.astype('>f4'), padding=1)"),
    "byte-swapped out": (
        "x, w, out = a((8, 32, 64, 64)), a((32, 32, 3, 3)), np.ones((8, 32, 64, 64), '>f4')",
        "f.conv2d(x, w, padding=1, out=out)",
    ),
    "infinite": ("x, w = a((1, 1, 512, 512)), a((1, 1, 31, 31)); x[0, 0, 5, 5] = np.inf", "f.conv2d(x, w)"),
    "fft_scipy": ("x, w = a((2, 2, 512, 512)), a((2, 2, 9, 9))", "f.conv2d(x, w, padding=4, algorithm='fft_scipy')"),
    "im2col": ("x, w = a((4, 64, 64, 64)), a((64, 64, 3, 3))", "f.conv2d(x, w, padding=1, algorithm='im2col')"),
    "weight gradient": ("x = a((4, 64, 64, 64))", "g.conv2d_weight(x, (64, 64, 3, 3), x, padding=1)"),
    "gelu": (
        "x, w = a((4, 16, 128, 128)), a((16, 16, 3, 3))",
        "f.conv2d(x, w, padding=1, activation='gelu', algorithm='im2col')",
    ),
    "stride phases": ("x, w = a((1, 1, 2)), a((1, 1, 2))", "f.conv_transpose1d(x, w, stride=2**20)"),
    "stride phases in 2-D": ("x, w = a((1, 1, 2, 2)), a((1, 1, 3, 3))", "f.conv_transpose2d(x, w, stride=1024)"),
}

MEASURED = """
import gc, numpy as np, fastconv as f
from fastconv import grad as g
rng = np.random.default_rng(0)

def a(shape, dtype="f4"):
    dtype = np.dtype(dtype)
    if dtype.kind == "i":
        return rng.integers(-3, 4, shape, dtype=dtype)
    values = rng.standard_normal(shape, dtype=np.float32)
    return (values + 1j * values[::-1]).astype(dtype) if dtype.kind == "c" else values.astype(dtype)

def kib(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

def peak(run):
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    before = kib("VmRSS")
    result = run()
    return kib("VmHWM") - before, result

assert peak(lambda: np.ones(2**23).sum())[0] > 60000  # the measure sees what NumPy allocates and lets go of
f.set_workspace_limit({limit})
f.set_num_threads(1)
np.ones((300, 300), "f") @ np.ones((300, 300), "f")  # BLAS has its buffers
for shape in ((1, 4, 12, 12), (1, 4, 12)):  # imports
    for dtype in "f4", "f2", "c8":
        (f.conv2d if len(shape) == 4 else f.conv1d)(a(shape, dtype), a((4, 4) + (3,) * (len(shape) - 2), dtype))
f.conv2d(a((1, 1, 40, 40)), a((1, 1, 9, 9)), algorithm="fft_scipy", activation="gelu")
{arrays}
used, result = peak(lambda: {call})
kept = [] if "out=" in {call!r} else result if isinstance(result, tuple) else [result]
print(used - sum(array.nbytes for array in kept) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", CALLS)
def test_memory_beside_the_arrays(name: str) -> None:
    arrays, call = CALLS[name]
    code = MEASURED.replace("{limit}", str(LIMIT)).replace("{arrays}", arrays)
    code = code.replace("{call!r}", repr(call)).replace("{call}", call)
    # Blocks of this size and more are mapped, and given back to the system when they are let go of.
    extra = int(output_of(code, timeout=120, MALLOC_MMAP_THRESHOLD_="65536")) * 1024
    assert extra < LIMIT + SLACK, f"{extra / MIB:.1f} MiB"


@pytest.fixture
def _limit():
    yield
    fastconv.set_workspace_limit(None)
    forget_plans()


MULTIPLY_ADDS_OF_SMALL = 400_000


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("are_large", [False, pytest.param(True, marks=pytest.mark.full)], ids=["small", "large"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int8"])
def test_results_of_pieces_are_exact(dtype: str, are_large: bool) -> None:
    """Problems of all kinds by all algorithms, under limits that cut them along every axis.

    The large ones are the same in more and more pieces.
    """
    for number, problem in enumerate(named()[:: 11 if dtype == "float32" else 23]):
        problem = problem.replace(dtype=dtype)
        if (problem.multiply_adds > MULTIPLY_ADDS_OF_SMALL) != are_large:
            continue
        if dtype == "int8" and problem.direction != "forward":
            continue
        if dtype != "float32" and problem.epilogue.activation not in (None, "relu"):
            continue
        operands, expected = exact_case(problem)
        if dtype == "float32":
            operands = {role: array.astype(array.dtype.newbyteorder()) for role, array in operands.items()}
        able = accepted(problem)
        for limit, name in ((2000, able[number % len(able)]), (20000, able[(number + 1) % len(able)]), (20000, "auto")):
            fastconv.set_workspace_limit(limit)
            found = compute(problem, name, operands, 2)
            assert (np.rint(np.real(found)) == np.real(expected)).all(), (str(problem), name, limit)
            assert (np.rint(np.imag(found)) == np.imag(expected)).all(), (str(problem), name, limit)


PHASES = problems(("1x1x1048578 1x1x2 s1048576", "2x3x8300 4x3x3 s4099 p7 d5", "1x2x130x81 4x1x2x3 s64x40 p3 g2"))


@pytest.mark.parametrize("problem", [p for p in PHASES if p.direction == "backward_input"], ids=describe)
def test_very_many_stride_phases(problem: ConvProblem) -> None:
    assert problem.phases > MAX_PHASES
    assert set(accepted(problem)) <= {"im2col", "fft_scipy", "reference"}
    assert plan_for(problem).algorithm.name != "reference"
    operands, expected = exact_case(problem)
    for name in accepted(problem):
        assert (np.rint(compute(problem, name, operands)) == expected).all(), name


def test_the_default_limit_is_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory that is free now has no say; the container's limit has, in both versions of control groups."""
    before, sysconf = _config.memory_bytes(), _config.os.sysconf
    assert before >= 4 * fastconv.get_workspace_limit() or _config._process["workspace_limit"]

    def without_free_pages(name: str) -> int:
        assert name != "SC_AVPHYS_PAGES"
        return sysconf(name)

    monkeypatch.setattr(_config.os, "sysconf", without_free_pages)
    first, second = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    monkeypatch.setattr(_config, "MEMORY_LIMITS", (str(first), str(second)))
    assert _config.memory_bytes() >= before
    second.write_text(f"{2**63 - 4096}\n")
    first.write_text("max\n")
    assert _config.memory_bytes() >= before
    first.write_text(f"{2**27}\n")
    assert _config.memory_bytes() == 2**27
    monkeypatch.setattr(_config, "_defaults", {})
    monkeypatch.setitem(_config._process, "workspace_limit", None)
    assert fastconv.get_workspace_limit() == 2**25


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_what_a_limit_changes_does_not_depend_on_threads(algorithm: str) -> None:
    """Parameters are those that fit one thread; threads that would not fit are left out."""
    for problem in named()[::7]:
        if algorithm not in accepted(problem):
            continue
        for limit in (2**12, 2**15, 2**18):
            fastconv.set_workspace_limit(limit)
            plans = [plan_for(problem.replace(batch=64), algorithm, threads) for threads in (1, 2, 7)]
            assert len({str(plan.params) for plan in plans}) == 1
            assert all(plan.threads == 1 or plan.workspace_bytes <= limit for plan in plans)


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_no_result_depends_on_the_workspace_of_a_call_before(algorithm: str) -> None:
    """Nor is a larger one that the thread has kept made use of."""
    for problem in named()[::13]:
        if algorithm in accepted(problem):
            operands, _ = exact_case(problem)
            workspace.drop()
            alone = compute(problem, algorithm, operands)
            workspace.give_back(workspace.aligned(2**24))
            assert np.array_equal(compute(problem, algorithm, operands), alone)
    workspace.drop()
