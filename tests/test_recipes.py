"""CONTRIBUTING's recipes: an algorithm is a folder and a line; every file that they name is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import fastconv
from subprocesses import output_of

PACKAGE = Path(fastconv.__file__).parent
CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"

ROOM = '''"""The definition again, under another name."""

from ....._toy_parent import Reference


class Toy(Reference):
    """Estimated as the cheapest of all for images of three pixels, which nobody has."""

    name = "toy"

    def cost(self, problem, params, threads, machine):
        return 0.0 if problem.input_size[2] == 3 else 1e9


ALGORITHMS = (Toy(),)
'''.replace("....._toy_parent", "..reference.algorithm")

LOOK = """
import numpy as np, fastconv
from fastconv import _accuracy
from fastconv._backend import CPU, algorithm_names, find_algorithm
from fastconv._choose import select, tune
from fastconv._choose.sample import sample
from fastconv._cli import main
from fastconv._problem import ConvProblem

assert fastconv.__file__.startswith({folder!r}), fastconv.__file__
problem = ConvProblem.parse("forward 1x2x3x3 2x2x2x2 float32")
print("listed", "toy" in algorithm_names())
print("selected", select.plan_for(problem, "auto", 1).algorithm.name)
x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((2, 2, 2, 2), np.float32)
print("computed", float(fastconv.conv2d(x, w).sum()), float(fastconv.conv2d(x, w, algorithm="toy").sum()))
operands = sample(problem)
CPU.execute(select.plan_for(problem, "toy", 1), operands)
print("right", _accuracy.error_ratio(find_algorithm("toy"), problem, operands) <= 1)
record = tune.tune_problem(problem, threads=1, effort="exhaustive")
print("tuned", any(timing.algorithm == "toy" and timing.seconds is not None for timing in record.timings))
print("verified", main(["verify", str(problem), "--algorithm", "toy"]))
"""


def test_an_algorithm_is_a_folder_and_a_line(tmp_path: Path) -> None:
    """It is listed, selected, computed by, tuned and verified, in a copy of the package."""
    copy = tmp_path / "fastconv"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    room = copy / "_cpu" / "algorithms" / "toy"
    room.mkdir()
    (room / "__init__.py").write_text(ROOM)
    registry = copy / "_cpu" / "registry.py"
    registry.write_text(registry.read_text().replace("ROOMS = (\n", 'ROOMS = (\n    "toy",\n', 1))
    code = LOOK.format(folder=str(copy))
    found = output_of(code, PYTHONPATH=str(tmp_path), FASTCONV_CACHE_DIR=str(tmp_path / "cache"))
    said = dict(line.split(maxsplit=1) for line in found.splitlines() if line.split()[0] in WANTED)
    assert said == WANTED


WANTED = {
    "listed": "True",
    "selected": "toy",
    "computed": "64.0 64.0",
    "right": "True",
    "tuned": "True",
    "verified": "0",
}


@pytest.mark.skipif(not CONTRIBUTING.is_file(), reason="installed without the sources' documents")
def test_every_place_that_is_named_is_there() -> None:
    """The paths in backticks and those in the drawing, with <room> for any."""
    text = CONTRIBUTING.read_text()
    tree = CONTRIBUTING.parent
    if not (tree / "fastconv" / "_cpu").is_dir():
        pytest.skip("no sources beside the tests")
    bases = ("", "fastconv", "fastconv/_cpu")
    named = set(re.findall(r"`([\w./<>-]+/[\w./<>-]*|[\w<>-]+\.(?:py|pyx|pxd|h|c|inc|toml|txt))`", text))
    named |= set(re.findall(r"(?m)^ (_?\w+(?:/[\w.<>]+)*(?:/|\.py))", text))
    assert len(named) > 20
    missing = []
    for name in sorted(named):
        pattern = re.sub(r"<\w+>|NAME", "*", name).rstrip("/")
        rooms = ("fastconv/_cpu/algorithms/*", "fastconv/_cpu/csrc", "tests")
        if not any(list(tree.glob(f"{base}/{pattern}".lstrip("/"))) for base in (*bases, *rooms)):
            missing.append(name)
    assert not missing
