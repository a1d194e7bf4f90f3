"""``python -m bench networks --training``: both sides compute the same step, and the table has times and memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.__main__ import main  # noqa: E402
from bench.networks import profile, step, training  # noqa: E402
from bench.networks.in_torch import in_torch  # noqa: E402
from fastconv import nn  # noqa: E402


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images, short times."""
    monkeypatch.setattr(step, "SIZE", 64)
    monkeypatch.setattr(training, "SECONDS", 0.1)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_both_compute_the_same_steps(name: str) -> None:
    """The losses of two of them, the second after a change of all weights. Of few images, statistics of the last maps,
    2 x 2 pixels each, would multiply rounding."""
    own, theirs = step.step_of(name, "fastconv", 16), step.step_of(name, "channels_last", 16)
    np.testing.assert_allclose([own(), own()], [theirs(), theirs()], rtol=1e-3)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "peak_bytes", lambda *arguments: 5_000_000)
    words = ["networks", "--training", "resnet18", "--batch", "2", "--threads", "1", "--profile"]
    assert main([*words, "--json", str(tmp_path / "rows.json")]) == 0
    printed = capsys.readouterr().out
    assert "| resnet18 | 1 |" in printed
    assert "| 5 | 5 |" in printed
    assert "Conv2d weight gradient" in printed
    (row,) = json.loads((tmp_path / "rows.json").read_text())["training"]
    assert set(row["seconds"]) == {"fastconv", "contiguous", "channels_last"}
    assert row["ratio"] == pytest.approx(
        min(row["seconds"][who] for who in training.FORMATS) / row["seconds"]["fastconv"], rel=1
    )


def test_memory_is_that_of_the_steps() -> None:
    few, many = (training.peak_bytes("resnet18", "fastconv", 1, count) for count in (1, 4))
    assert 3 * 11.7e6 * 4 < few < many < 400e6


def test_time_within_time_counts_once() -> None:
    clock = profile.Clock()
    with clock.of("outer"), clock.of("inner"):
        sum(range(100_000))
    assert clock.seconds["inner"] > clock.seconds["outer"] >= 0


def test_what_has_no_form_in_torch_is_named() -> None:
    with pytest.raises(TypeError, match="GroupNorm has no form in torch here"):
        in_torch(nn.Sequential(nn.GroupNorm(1, 2)))


def test_networks_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "step_of", lambda name, who, count: lambda: 1.0 if who == "fastconv" else 1.1)
    with pytest.raises(ValueError, match="the losses of fastconv and torch"):
        training.measure("resnet18", 1, 2)
