"""``python -m bench gpu`` on the stand-in for CuPy: all of it but torch is run before there is a GPU."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_modules import array_module, forget_gpu
from bench.__main__ import main
from bench.gpu import calibration, ceilings, clock, command, device, matrix, overhead, pooling, rows, summary
from bench.gpu.arrays import Noise, bytes_of
from bench.gpu.check import Check
from bench.gpu.contestants import Contestant, Fastconv, contestants
from emulated_cupy import nvrtc
from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._choose.select import plan_for
from fastconv._cpu import backend as cpu
from fastconv._problem import RESULT

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
TINY = "forward 2x4x5x6 6x4x3x3 p1"
SMALL = {
    calibration: {"CHAIN_STEPS": 4, "STEPS": 2, "L2_STEPS": 1, "CHASE_STEPS": 3, "COPIED_BYTES": 256, "SAMPLES": 1,
                  "LOADED_BYTES": 256, "HOST_CALLS": 2, "CHASED_STRIDE": 5, "FFMA_THREADS": 128, "HMMA_THREADS": 128,
                  "LOAD_THREADS": 128},
    ceilings: {"SIDE": 8, "SAMPLES": 1},
    clock: {"FLUSHES": 1e-5, "CALLS_OF_GRAPH": 2, "MIN_SAMPLES": 2},
    rows: {"CALLS_OF_GRAPH": 2},
}  # fmt: skip
"""What the stand-in has time for."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, values in SMALL.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("bench.gpu.arrays.NOISE_ELEMENTS", 64)
    forget_gpu()
    yield
    forget_gpu()


@pytest.fixture
def cp() -> Iterator[Any]:
    with array_module("emulated", devices=("H200",)) as module:
        yield module.module


def results_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["problem"]: row for row in json.loads(path.read_text())["rows"]}


def gpu(path: Path, *words: str) -> int:
    return main(["gpu", "--emulated", "--seconds", "1e-9", *words, "--resume", str(path)])


def test_rows_of_every_level_layout_and_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gpu.json"
    assert gpu(path, TINY, "--passes", "forward") == 0
    assert gpu(path, "forward 1x3x9 3x1x3 g3", "--levels", "highest,bfloat16", "--bias") == 0
    found = results_of(path)
    assert sum("+bias" in problem for problem in found) == 2 * 2
    assert len(found) == 5 * 2 + 2 * 2 * 3
    for row in found.values():
        own = row["contestants"]["fastconv"]
        assert own["seconds"] > 0, own
        assert own["ratio"] == 1
        assert own["error"] < 1e-2
        assert own["note"].split()[0] in {"implicit_gemm", "depthwise_nchw", "reference"} | set(_names())
        assert 0 < row["roofline"]["share"]
        assert row["best"] is None
        assert ("seconds" in row["contestants"]["packed"]) == (row["pass"] != "weight")
        assert ("seconds" in row["contestants"]["cublas"]) == (" g3" not in row["problem"])
    facts = json.loads(path.read_text())["facts"]
    assert facts["gpu"] == "NVIDIA H200, sm_90, 132 multiprocessors"
    assert {"fastconv", "cuda driver", "cuda runtime", "cupy", "nvrtc"} <= set(facts["versions"])
    assert facts["commit"]
    printed = capsys.readouterr().out
    assert "10 problems, 0 of them measured before" in printed
    assert "memory-bound" in printed


def _names() -> list[str]:
    from fastconv._backend import find_backend

    return [algorithm.name for algorithm in find_backend("gpu").algorithms]


def test_a_run_goes_on_where_another_has_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gpu.json"
    words = [TINY, "--levels", "highest", "--layouts", "NCHW"]
    assert gpu(path, *words, "--minutes", "0") == 0
    assert "time is up: 3 problems are left" in capsys.readouterr().out
    assert not path.exists()
    assert gpu(path, *words, "--passes", "forward") == 0
    (first,) = results_of(path).values()
    capsys.readouterr()
    assert gpu(path, *words) == 0
    assert "3 problems, 1 of them measured before" in capsys.readouterr().out
    found = results_of(path)
    assert len(found) == 3
    assert found[first["problem"]] == first
    assert main(["gpu", "--show", str(path)]) == 0
    assert "dense float32 strict" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["gpu.json"]


def test_long_calls_are_measured_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.json"
    for short, expected in ((0.0, False), (1e3, True)):
        monkeypatch.setattr(rows, "SHORT_SECONDS", short)
        words = [TINY, "--levels", "highest", "--layouts", "NCHW", "--passes", "forward", "--json", str(path)]
        assert main(["gpu", "--emulated", "--seconds", "1e-9", *words]) == 0
        (row,) = results_of(path).values()
        assert row["graph"] is expected
        assert row["contestants"]["fastconv"]["samples"] == 2


def test_pooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    windows = ("max", (2, 3, 7, 6), 3, 2, 1), ("avg", (1, 2, 4, 4), 2, 2, 0)
    monkeypatch.setattr(pooling, "WINDOWS", windows)
    path = tmp_path / "gpu.json"
    assert gpu(path, "pooling", "--levels", "high,bfloat16,highest") == 0
    found = results_of(path)
    assert len(found) == 2 * 2 * 2 * 2
    assert "max_pool2d_backward 2x3x7x6 k3 s2 p1 bfloat16 channels_last" in found
    for row in found.values():
        assert row["contestants"]["fastconv"]["seconds"] > 0, row
        assert row["contestants"]["fastconv"]["error"] < 1e-2
        assert row["roofline"]["share"] > 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("memory-bound"))
    assert " 16 " in line


def test_the_check_of_pooling_finds_a_wrong_element(cp: Any) -> None:
    problem = pooling.Pooling("max", (2, 3, 7, 6), 3, 2, 1, "float32", "NHWC", False)
    assert problem.result_shape == (2, 3, 4, 3)
    assert problem.bytes == 4 * (2 * 3 * 7 * 6 + 2 * 3 * 4 * 3)
    case = pooling.case(Noise(cp), problem)
    check, result = pooling.PoolCheck(cp, case), pooling.PoolFastconv(clock.Clock(cp)).call(case)()
    assert check.error(result) == 0
    result[-1, -1, -1, -1] += 1
    assert check.error(result) > 0.01


def test_whatever_a_contestant_does_is_a_cell(cp: Any) -> None:
    clocked = clock.Clock(cp)

    class Wrong(Fastconv):
        name = "wrong"

        def array(self, case: Any, result: Any) -> Any:
            return super().array(case, result) * 1.01

    class Failing(Contestant):
        name = "failing"

        def call(self, case: Any) -> Callable[[], Any]:
            raise RuntimeError("no engine\nand a long trace")

    class Rival(Fastconv):
        name, is_rival = "torch contiguous", True

    everyone = [*contestants(clocked, None), Wrong(clocked), Failing(clocked), Rival(clocked)]
    bench = rows.Bench(clocked, Noise(cp), everyone, 1e-9)
    (work,) = matrix.works([TINY], ["highest"], ["NCHW"], ["forward"])
    row = bench.row(work, kernels=True)
    cells = row["contestants"]
    assert cells["wrong"]["reason"].startswith("wrong: error 1")
    assert cells["failing"] == {"reason": "RuntimeError: no engine"}
    assert row["best"] == "torch contiguous"
    assert "torch contiguous" in summary.line(row)
    failed = rows.Bench(clocked, Noise(cp), [Wrong(clocked)], 1e-9)
    failed.everyone[0].name = "fastconv"
    row = failed.row(work)
    assert "wrong: error" in summary.line(row)
    assert any(line.startswith("NOT TIMED forward 2x4x5x6") for line in summary.lines([row]))


def test_nothing_recorded_is_kept(cp: Any) -> None:
    clocked = clock.Clock(cp)
    bench = rows.Bench(clocked, Noise(cp), contestants(clocked, None), 1e-9)
    used = []
    for work in matrix.works([TINY], ["highest"], ["NCHW"], ["forward"]) * 3:
        bench.row(work)
        bench._make_room()
        used.append(cp.get_default_memory_pool().used_bytes())
    assert used[0] == used[1] == used[2]


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("text", ["3x6x5x4 9x2x3x2 s2x1 p1 g3 float32", "2x1x7 1x1x3 float64",
                                  "2x8x3x4x4 8x4x2x2x2 g2 float16 channels_last"])  # fmt: skip
def test_check_finds_a_wrong_element(cp: Any, direction: str, text: str) -> None:
    """The last image's last channel is looked at, in full."""
    problem = ConvProblem.parse(f"{direction} {text}")
    case = Noise(cp).case(problem)
    check = Check(cp, case)
    role = RESULT[direction]
    host = {name: getattr(case.operands, name).get() for name in ("input", "weight", "output")}
    host[role] = np.zeros(problem.result_shape, host[role].dtype)
    cpu.execute(plan_for(problem, "auto", 1), Operands(**host))
    assert check.error(cp.asarray(host[role])) < 2e-3
    for place in ((-1,) * 5, (-1, -1, 0, 0, 0)):
        changed = host[role].copy()
        changed[place] += 1
        assert check.error(cp.asarray(changed)) > 0.01
        changed[place] = np.nan
        assert math.isnan(check.error(cp.asarray(changed)))


def test_calibration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "--emulated", "--calibrate-model"]) == 0
    printed = capsys.readouterr().out
    assert "cycles of HMMA.16816.F32" in printed
    assert 'code for "sm_90a" runs: True' in printed
    with array_module("emulated", devices=("T4",)) as module:
        clocked = clock.Clock(module.module)
        with clocked.stream:
            found = calibration.Calibration(clocked)
            assert found.mma_cycles is None
            assert found.takes_all_features() is None
            assert found.memory_latency > 0


def test_the_chase_reads_what_the_read_before_has_found(cp: Any) -> None:
    module = calibration.Calibration(clock.Clock(cp))._module
    out, following = cp.zeros(1, np.int32), cp.asarray(np.array([3, 0, 0, 4, 7], np.int32))
    module.get_function("chase")((1,), (1,), (out, following, np.int32(3)))
    assert out.get()[0] == 7


def test_products_are_those_of_cublas(cp: Any) -> None:
    a, b = (cp.asarray(np.arange(12.0, dtype=np.float32).reshape(shape)) for shape in ((3, 4), (4, 3)))
    for precision in ("highest", "medium"):
        out = cp.empty((3, 3), np.float32)
        ceilings.product(cp, a, b, out, precision)()
        np.testing.assert_array_equal(out.get(), a.get() @ b.get())


def test_a_share_is_of_the_longer_of_both_ceilings(cp: Any) -> None:
    found = ceilings.Ceilings(clock.Clock(cp), Noise(cp))
    problem = ConvProblem.parse(TINY)
    found._products[problem.dtype, problem.precision], found.bytes_per_second = 1e12, 1e9
    assert found.is_bound_by_memory(problem)
    assert found.seconds(problem) == bytes_of(problem) / 1e9
    found.bytes_per_second = 1e15
    assert not found.is_bound_by_memory(problem)
    assert found.seconds(problem) == 2 * problem.multiply_adds / 1e12


def _row(text: str, level: str, share: float, **ratios: float) -> dict[str, Any]:
    cells = {"fastconv": {"seconds": 1e-5, "note": ""}, **{f"torch {name}": {"ratio": r} for name, r in ratios.items()}}
    problem = ConvProblem.parse(text)
    return {"layer": text, "pass": "forward", "level": level, "problem": str(problem), "contestants": cells,
            "roofline": {"share": share, "limit": "memory", "flops_per_second": 1, "bytes_per_second": 1}}  # fmt: skip


def test_sets_of_the_summary() -> None:
    found = [
        _row("forward 8x64x56x56 64x64x3x3 p1", "highest", 0.5, contiguous=4.0, channels_last=1.0),
        _row("forward 8x64x56x56 64x64x1x1", "highest", 0.5, contiguous=4.0, channels_last=5.0),
        _row("forward 8x64x56x56 64x64x3x3 p1 bfloat16", "bfloat16", 0.9, contiguous=0.6),
        _row("forward 8x64x56x56 64x1x3x3 p1 g64", "highest", 0.9, contiguous=3.0),
        _row("backward_input 8x64x56x56 64x64x3x3 s2", "medium", 0.9, contiguous=3.0),
        _row("forward 8x64x56x56 64x64x3x3 p1 bfloat16 channels_last", "bfloat16", 0.9, contiguous=0.1),
    ]
    lines = summary.lines(found)
    table = {line[:60].strip(): line for line in lines[1:]}
    special, strict, _, half, wide, bound = table.values()
    assert special.split()[-1] != "MISSED"
    assert " 2   3.00 " in special
    assert " 2   2.00    1.50   1.00" in strict
    assert half.endswith("MISSED")
    assert " 1   0.60 " in half
    assert " 0      - " in wide
    assert " 1   0.90 " in bound


def test_calls_on_the_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """fastconv's own part is what remains where CuPy's functions do nothing."""
    monkeypatch.setattr(overhead, "SECONDS", 0)
    monkeypatch.setattr(overhead, "CALLS_OF_SERIES", 2)
    assert main(["calls", "--backend", "gpu"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 3 + 10
    for line in printed[3:]:
        name, own, whole = (cell.strip() for cell in line.strip("|").split("|"))
        assert min(float(own), float(whole)) > 0, name


def test_order_and_refusals() -> None:
    found = matrix.works(["lenet"], ["highest", "medium"], ["NCHW", "NHWC"], ["weight", "forward"])
    assert [work.layer.pass_name for work in found][:8] == ["forward"] * 8
    assert [work.level for work in found][:8:3] == ["highest", "highest", "medium"]
    assert len(found) == 2 * (2 * (3 * 2))
    with pytest.raises(ValueError, match="none of lenet has nothing in its name"):
        matrix.works(["lenet"], ["highest"], ["NCHW"], ["forward"], ["nothing"])
    assert main(["gpu", "--levels", "low"]) == 2


def test_without_a_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["gpu", TINY]) == 2
    assert capsys.readouterr().err.startswith("bench: GPU: CuPy is not installed; needed: ")


def test_a_dead_device_ends_the_run(cp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_lives", lambda cp: False)
    path = tmp_path / "gpu.json"
    assert gpu(path, TINY, "--levels", "highest") == command.DEAD
    assert len(results_of(path)) == 1
    assert device.torch_with_cuda() is None
