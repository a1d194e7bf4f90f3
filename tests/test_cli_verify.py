"""``fastconv verify``: it passes what is right and finds what is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cli_cases import PROBLEM
from fastconv import ConvProblem
from fastconv._cpu import backend
from fastconv._cpu.algorithms.reference.algorithm import Reference
from fastconv._problem import DIRECTIONS, RESULT
from operands import ALGORITHMS, accepted

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_verify_passes(run):
    texts = (
        PROBLEM,
        "forward 2x6x9x9 4x6x3x3 p1 float16",
        "forward 1x2x5x6x7 3x2x2x3x3 s2 float64",
        "forward 1x20x9x9 20x1x3x3 p1 g20 float32 channels_last",
        "forward 1x32x9x9 32x4x3x3 p1 g8 float32 channels_last",
        "forward 1x5x14x15 5x1x3x3 p1 g5 float32",
    )
    status, out, _ = run("verify", *texts, "--seed", "3")
    assert status == 0
    checked = [ConvProblem.parse(text).replace(direction=direction) for text in texts for direction in DIRECTIONS]
    for name in (algorithm.name for algorithm in ALGORITHMS):
        # On random data and on integers.
        checks = 2 * sum(name in accepted(problem) for problem in checked)
        assert checks >= 4
        assert re.search(rf"^{name} +{checks} +0 +0\.\d+  (forward|backward_)", out, re.MULTILINE), out


def test_verify_where_taps_meet_padding_alone(run):
    """The exact result is 0, from which a transform is off by roundings of the data."""
    assert run("verify", "forward 1x1x1 1x1x2 p2 d4 float32", "--algorithm", "fft_scipy")[0] == 0


class WrongAlgorithm(Reference):
    """Wrong in one element of its result."""

    name = "wrong"

    def execute(self, problem, params, operands, resources):
        super().execute(problem, params, operands, resources)
        getattr(operands, RESULT[problem.direction])[0, 0, 0, 0, 0] += 1


def test_verify_finds_what_is_wrong_and_says_how_to_repeat_it(run, monkeypatch):
    monkeypatch.setattr(backend, "algorithms", (WrongAlgorithm(), Reference()))
    status, out, _ = run("verify", PROBLEM, "--threads", "1", "--seed", "5")
    assert status == 1
    assert f'repeat with: fastconv verify "{PROBLEM}" --algorithm wrong --seed 5 --threads 1' in out
    assert "WRONG 1 elements differ" in out
    assert re.search(r"^wrong +6 +6 ", out, re.MULTILINE)
    assert re.search(r"^reference +6 +0 ", out, re.MULTILINE)
    assert run("verify", PROBLEM, "--algorithm", "reference")[0] == 0


class OverrunningAlgorithm(Reference):
    """Right, but for one byte behind its scratch memory."""

    name = "overrunning"

    def workspace(self, problem, params, threads):
        return 100

    def execute(self, problem, params, operands, resources):
        super().execute(problem, params, operands, resources)
        np.lib.stride_tricks.as_strided(resources.workspace, (101,))[100] ^= 1


def test_verify_finds_writes_beyond_the_scratch_memory(run, monkeypatch):
    monkeypatch.setattr(backend, "algorithms", (OverrunningAlgorithm(), Reference()))
    status, out, _ = run("verify", PROBLEM, "--threads", "1", "--passes", "forward")
    assert status == 1
    assert f'writes beyond its 100 bytes of scratch memory; repeat with: fastconv verify "{PROBLEM}" --algo' in out
    assert re.search(r"^overrunning +0 +1 ", out, re.MULTILINE)
