"""``--against torch``: PyTorch is given the problem that fastconv computes, or said to be missing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from fastconv import ConvProblem
from fastconv._backend import CPU
from fastconv._choose.sample import sample
from fastconv._choose.select import plan_for
from fastconv._cli import main
from fastconv._cli.against import Torch, rank_of
from fastconv._problem import RESULT

PROBLEM = "forward 1x4x10x10 6x4x3x3 p1 float32"
PROBLEMS = (
    PROBLEM,
    "forward 2x3x17 4x3x5 s2 p1:3 d2 float64",
    "forward 1x6x12x9 8x3x3x2 s2x1 p1x0 d1x2 g2 float32 channels_last",
    "forward 1x3x6x7x8 4x3x3x2x1 p1 float32",
    "forward 1x4x9x9 6x4x3x3 p-1:2 float32",
    "forward 1x5x1x1 3x5x1x1 float32",
    "backward_input 2x4x11x10 6x2x3x3 s2 p1 g2 float32",
    "backward_input 1x4x9x9 6x4x3x3 p0:2x1:0 float32",
    "backward_weight 2x4x11x10 6x2x3x3 s2 p1 g2 float32",
    "backward_weight 1x4x9 6x4x3 p2:0 float32",
    "forward 1x4x9x9 6x4x3x3 float32 +bias+relu",
)


@pytest.mark.usefixtures("cache_folder")
def test_pytorch_that_is_missing_is_said_before_measuring(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("fastconv._choose.tune.tune_problem", None)
    assert main(["autotune", PROBLEM, "--against", "torch"]) == 2
    assert capsys.readouterr() == ("", "fastconv autotune: --against: PyTorch is not installed; pip install torch\n")


@pytest.mark.parametrize("text", PROBLEMS)
def test_pytorch_computes_the_same(text: str) -> None:
    pytest.importorskip("torch")
    problem = ConvProblem.parse(text)
    found: Any = Torch(1, CPU)._call(problem)()
    bare = ConvProblem.parse(text.split(" +")[0])
    operands = sample(bare)
    CPU.execute(plan_for(bare, "reference", 1), operands)
    expected = getattr(operands, RESULT[problem.direction])
    expected = expected[(slice(None), slice(None)) + (0,) * (3 - rank_of(problem))]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_what_pytorch_does_not_compute_has_no_time() -> None:
    pytest.importorskip("torch")
    torch = Torch(1, CPU)
    assert torch.seconds(ConvProblem.parse("forward 1x4x9x9 6x4x3x3 p1 int8")) is None
    assert (torch.seconds(ConvProblem.parse(PROBLEM)) or 0.0) > 0
