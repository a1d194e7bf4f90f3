"""The text of a problem: one line there and back, and lines that name none."""

from __future__ import annotations

import pytest

from fastconv import ConvProblem
from fastconv._problem import ACTIVATIONS, DIRECTIONS, DTYPES, LAYOUTS, PRECISIONS, WEIGHT_LAYOUTS, Epilogue
from problems import SHAPES, describe, problems

PROBLEMS = problems(shape for shapes in SHAPES.values() for shape in shapes)


@pytest.mark.parametrize("problem", PROBLEMS, ids=describe)
def test_every_problem_reads_back(problem: ConvProblem) -> None:
    assert ConvProblem.parse(str(problem)) == problem
    assert str(ConvProblem.parse(str(problem))) == str(problem)


def test_every_word_reads_back() -> None:
    plain = ConvProblem.parse("forward 2x6x7x9 4x3x2x3 s2x1 p1:-1x0 d1x2 g2")
    changes: list[tuple[str, object]] = [
        *(("direction", word) for word in DIRECTIONS),
        *(("dtype", word) for word in DTYPES),
        *(("layout", word) for word in LAYOUTS),
        *(("weight_layout", word) for word in WEIGHT_LAYOUTS),
        *(("precision", word) for word in PRECISIONS),
        *(("epilogue", Epilogue(True, True, word)) for word in ACTIVATIONS),
        *(("epilogue", Epilogue(activation="leaky_relu", slope=slope)) for slope in (-1e-7, 0.0, 1e20)),
        ("epilogue", Epilogue(add=True)),
    ]
    for field, value in changes:
        problem = plain.replace(**{field: value})
        assert ConvProblem.parse(str(problem)) == problem


def test_leading_axes_that_do_something_are_printed() -> None:
    problem = ConvProblem.parse("forward 2x6x1x9 4x6x1x3 p1x0")
    assert str(problem) == "forward 2x6x1x9 4x6x1x3 p1x0 float32"
    assert str(ConvProblem.parse("forward 2x6x1x1x9 4x6x1x1x3")) == "forward 2x6x9 4x6x3 float32"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "forward",
        "sideways 1x2x8 2x2x3",
        "forward 1x2x8",
        "forward 1x2x8 2x2",
        "forward 1x2 2x2",
        "forward 1x2x3x4x5x6 2x2x3x3x3x3",
        "forward 1x2x8 2x2x3x3",
        "forward 1x-2x8 2x2x3",
        "forward 1x2x8 2x2x3 s0",
        "forward 1x2x8 2x2x3 d0",
        "forward 1x2x8 2x2x3 g0",
        "forward 1x2x8 2x2x0",
        "forward 1x3x8 3x1x3 g2",
        "forward 1x2x8 2x3x3",
        "forward 1x4x8 4x4x3 g2",
        "forward 1x2x8 2x2x3 s1x1",
        "forward 1x2x8 2x2x3 float31",
        "forward 1x2x8 2x2x3 +swish",
        "forward 1x2x8 2x2x3 p1:2:3",
    ],
)
def test_lines_that_name_no_problem(text: str) -> None:
    with pytest.raises(ValueError, match=r"^problem: "):
        ConvProblem.parse(text)
