"""The command line on the GPU, and what it says where there is none."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from array_modules import ArrayModule
from fastconv import ConvProblem, suites
from fastconv._backend import find_backend
from fastconv._choose import select, tuning_cache
from fastconv._cli import main
from fastconv._gpu.algorithms.reference.algorithm import Reference
from fastconv.suites.layers import Layer, Suite
from gpu_tuning import Overrunning, small_gpus

pytestmark = pytest.mark.usefixtures("cache_folder")

TEXT = "forward 1x2x6x6 3x2x3x3 p1 float32"
PROBLEM = ConvProblem.parse(TEXT)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArrayModule]:
    with small_gpus(monkeypatch) as module:
        yield module


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; (status, stdout, stderr)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        tuning_cache.reload()
        select.forget_plans()
        status = main([*arguments, "--backend", "gpu"])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def test_autotune_a_suite(
    gpu: ArrayModule, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    tiny = Suite("resnet50", "", (Layer("conv1", PROBLEM, 2), Layer("conv2", PROBLEM.replace(stride=(1, 2, 2)), 1)))
    monkeypatch.setattr(suites, "suite", lambda name: tiny)
    file = tmp_path / "results.json"
    status, first, err = run("autotune", "resnet50", "--json", str(file))
    assert (status, err) == (0, "")
    assert first.startswith("2 problems, forward, float32, Tesla T4, effort measure\n")
    assert "times as fast as implicit_gemm (baseline), as the cost model's choice (model)\n" in first
    lines = re.findall(r"^conv\d .*", first, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert re.search(r" forward .*float32 +\w+ +[\d.]+ +[\d.]+x +[\d.]+x +\w+ [\d.]+$", line), line
    assert re.search(r"^resnet50 forward +3 +[\d.]+ +[\d.]+ +[\d.]+x +[\d.]+x$", first, re.MULTILINE)
    assert json.loads(file.read_text())["fingerprint"]["gpu"] == "Tesla T4"
    assert run("autotune", "resnet50")[1].count("  stored\n") == 2
    status, out, _ = run("cache", "show")
    assert (status, len(re.findall(rf"^{TEXT} +Tesla T4  ", out, re.MULTILINE))) == (0, 1)
    assert "/gpu-" in run("cache", "path")[1]
    assert "chosen by" not in run("explain", TEXT)[1]
    facts = run("info")[1]
    assert "\ngpu              Tesla T4, sm_75, 40 multiprocessors\n" in facts
    assert "\ntuned choices    2 in " in facts
    assert main(["cache", "--backend", "gpu", "clear"]) == 0
    assert run("cache", "show")[1] == "dropped 2 choices\n"


def test_bench_and_verify(gpu: ArrayModule, run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = run("bench", TEXT)
    assert (status, out.splitlines()[0]) == (0, f"{TEXT}, Tesla T4")
    assert re.search(r"^  reference +[\d.]+ +[\d.]+ \S? +[\d.]+x ", out, re.MULTILINE)
    assert run("cache", "show")[1] == ""
    status, out, _ = run("verify", TEXT, "forward 1x4x5 4x1x3 p1 g4 float16", "--passes", "forward")
    assert status == 0
    backend = find_backend("gpu")
    for algorithm in backend.algorithms:
        checks = 2 * sum(backend.is_usable(algorithm) and backend.accepts(algorithm, ConvProblem.parse(text))
                         for text in (TEXT, "forward 1x4x5 4x1x3 p1 g4 float16"))  # fmt: skip
        assert re.search(rf"^{algorithm.name} +{checks} +0 ", out, re.MULTILINE), out


class Wrong(Reference):
    """Wrong in one element."""

    name = "wrong"

    def launches(self, operation: Any, params: Any) -> Any:
        class Step:
            workspace_bytes = 0

            def bind(self) -> Any:
                return lambda arrays: arrays["output"].data.memset_async(0, 4)

        return (*super().launches(operation, params), Step())


def test_verify_says_how_to_repeat_it(
    gpu: ArrayModule, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_backend("gpu"), "algorithms", (Wrong(), Overrunning(), Reference()))
    status, out, _ = run("verify", TEXT, "--passes", "forward", "--seed", "5")
    assert status == 1
    repeat = f'repeat with: fastconv verify "{TEXT}" --algorithm {{}} --seed 5 --threads 1 --backend gpu'
    assert repeat.format("wrong") in out
    assert repeat.format("overrunning") in out
    assert "beyond its 0 bytes" in out
    assert run("verify", TEXT, "--algorithm", "im2col")[0] == 2


COMMANDS = {
    "autotune": ["autotune", TEXT],
    "autotune estimate": ["autotune", TEXT, "--effort", "estimate"],
    "autotune calibrate": ["autotune", "--calibrate"],
    "bench": ["bench", TEXT],
    "verify": ["verify", TEXT],
    "info": ["info"],
    "cache show": ["cache", "show"],
    "cache path": ["cache", "path"],
    "cache clear": ["cache", "clear"],
    "cache export": ["cache", "export", "file"],
}


def _assert_missing(result: tuple[int, str, str], command: str, fact: str) -> None:
    status, out, err = result
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"fastconv {command}: GPU: {fact}.*; needed: .*\n", err), err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("absent", "fact"), [("driver", "there is no NVIDIA driver"), ("device", "there is no CUDA")])
def test_without_a_device(
    gpu: ArrayModule, run: Callable[..., tuple[int, str, str]], name: str, absent: str, fact: str
) -> None:
    with gpu.module.pretend(absent=absent):
        _assert_missing(run(*COMMANDS[name]), COMMANDS[name][0], fact)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_cupy(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    _assert_missing(run(*COMMANDS[name]), COMMANDS[name][0], "CuPy is not installed")


def test_explain_without_a_device(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    status, out, err = run("explain", "forward 8x64x28x28 64x64x3x3 p1 float32")
    assert (status, err) == (0, "")
    assert re.search(r"computed by \w+.* on the default device, .* of workspace\n  why: chosen by cost model", out)
    assert "machine (the default one, since there is no device here): multiply-adds per second and device" in out
    assert out.endswith('  GPU: CuPy is not installed; needed: pip install "fastconv[cuda13]", or [cuda12]\n')


def test_info_says_what_is_missing(
    gpu: ArrayModule, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["info"]) == 0
    assert "\ngpu              Tesla T4, sm_75, 40 multiprocessors\n" in capsys.readouterr().out
    with gpu.module.pretend(absent="driver"):
        assert main(["info"]) == 0
    assert "\ngpu              none; there is no NVIDIA driver" in capsys.readouterr().out
    with monkeypatch.context() as patch:  # undone before the stand-in goes
        patch.setitem(sys.modules, "cupy", None)
        assert main(["info"]) == 0
    assert "\ngpu              none; CuPy is not installed; needed: " in capsys.readouterr().out
