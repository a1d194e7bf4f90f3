"""implicit_gemm where weights are read where they lie, or gradients written: all blocks and widths of panels, and
nothing outside is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu.engine import runtime
from guarded import check
from problems import describe

GEMM = find_algorithm("implicit_gemm")
SHAPES = (
    "1x40x7x7 33x40x1x1",
    "1x37x1x1 21x37x1x1",
    "1x5x1x2 19x5x1x1",
    "3x16x5x7 18x16x1x1",
    "1x19x7x7 16x19x3x3 p1",
    "2x6x14x14 20x6x3x3 s2 p1",
    "1x7x15x13 9x7x3x3 s2 p2:0x1:3",
    "1x8x4x4 17x8x3x3 p1",
    "2x8x9x33 8x8x1x1 s2",
    "1x12x6x6 10x6x3x3 p1 g2",
    "1x6x31 18x6x5 p2 d2",
    "1x3x4x5x6 7x3x2x3x2 p1",
    "1x20x7x9 24x20x1x1 +bias+relu",
    "2x20x3x3 8x20x3x3 p1 +bias+add",
    "1x40x7x7 33x40x1x1 channels_last",
    "1x24x1x1 50x24x1x1 channels_last +bias+add+relu",
    "2x12x3x5 10x6x1x1 g2 channels_last",
)
CASES = [
    ConvProblem.parse(text)
    for shape in SHAPES
    for text in (f"forward {shape}", f"backward_input {shape.partition(' +')[0]}")
]
LAYOUTS = [problem.replace(weight_layout=layout) for problem in CASES[:8] for layout in ("DHWIO", "ODHWI")]
DOUBLES = [problem.replace(dtype="float64") for problem in CASES[:12]]
BLOCKS = ((4096, 128, 512), (24, 32, 16), (7, 16, 1))
"""(depth, span, filters)"""


@pytest.fixture
def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every plan looks weights up in place, in blocks of these sizes."""
    depth, span, filters = request.param
    params = {"columns": "pixels", "weights": "in_place", "depth": depth, "span": span, "filters": filters, "splits": 1}
    monkeypatch.setattr(type(GEMM), "parameters", lambda self, problem: [params])
    select.forget_plans()
    yield
    select.forget_plans()


@pytest.mark.parametrize("problem", [*CASES, *LAYOUTS, *DOUBLES], ids=describe)
@pytest.mark.parametrize("in_place", BLOCKS, indirect=True, ids=str)
def test_weights_in_place(problem: ConvProblem, in_place: None) -> None:
    check(problem, "implicit_gemm", "end", threads=3)
    check(problem, "implicit_gemm", "start")
    assert GEMM.pack(problem, GEMM.parameters(problem)[0], None, 1) is None  # type: ignore[arg-type]


FILTER_LINES = (
    "backward_input 1x40x7x7 33x40x1x1",
    "backward_input 1x70x5x3 37x70x1x1 float64",
    "backward_input 1x130x1x1 21x130x1x1",
    "backward_input 2x96x4x5 30x48x1x1 g2",
    "backward_input 1x64x9x8 19x64x1x1 s2",
    "backward_input 1x40x7x7 33x40x1x1 channels_last",
    "forward 1x33x7x7 67x33x1x1 +bias+add+relu",
)


@pytest.mark.parametrize("depth", [4096, 24, 7])
@pytest.mark.parametrize("text", FILTER_LINES)
def test_first_tile_packs_lines_of_filters(text: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of all pixels, whose items pack the weights that they alone use."""
    problem = ConvProblem.parse(text)
    if problem.direction == "forward":
        problem = problem.replace(weight_layout="DHWIO")
    params = {"columns": "filters", "weights": "packed", "depth": depth, "span": 4096, "filters": 64, "splits": 1}
    monkeypatch.setattr(type(GEMM), "parameters", lambda self, problem: [params])
    select.forget_plans()
    check(problem, "implicit_gemm", "end", threads=3)
    check(problem, "implicit_gemm", "start")
    select.forget_plans()


@pytest.mark.parametrize("blocks", [(4096, 4096), (40, 32), (7, 16)], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        "2x5x7x9 37x5x3x3 p1",
        "1x3x24x32 40x3x8x8 s8",
        "3x6x5x4 18x3x2x3 s2x1 g2 float64",
        "1x4x3x5x6 33x4x2x1x3 d1x1x2",
        "2x19x6x6 20x19x1x1 p1",
    ],
)
def test_gradients_of_one_block_of_pixels_are_stored_panel_by_panel(
    text: str, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    span, filters = blocks
    params = {"columns": "filters", "depth": 4096, "span": span, "filters": filters, "splits": 1}
    monkeypatch.setattr(type(GEMM), "parameters", lambda self, problem: [params])
    for weight_layout in ("OIDHW", "ODHWI", "DHWIO"):
        problem = ConvProblem.parse(f"backward_weight {text}").replace(weight_layout=weight_layout)
        select.forget_plans()
        check(problem, "implicit_gemm", "end", threads=3)
        check(problem, "implicit_gemm", "start")
    select.forget_plans()


@pytest.mark.parametrize(
    "text",
    [
        "forward 2x1024x7x9 600x1024x1x1 channels_last +bias+add+relu",
        "backward_input 3x33x5x5 1024x33x1x1 channels_last",
        "forward 2x512x7x9 40x512x1x1 float64 channels_last",
        "forward 1x512x6x31 40x512x1x1 s2 channels_last",
        "forward 2x512x9x9 70x512x1x1 channels_last",
    ],
)
def test_pixels_at_strides_of_pages(text: str) -> None:
    """They are copied, by items of some pixels and all filters, but for the last ones, which are read in place."""
    problem = ConvProblem.parse(text)
    check(problem, "implicit_gemm", "end", threads=3)
    check(problem, "implicit_gemm", "start")


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("forward 1x2048x7x7 512x2048x1x1", "in_place"),
        ("forward 1x512x14x14 512x512x3x3 s2 p1", "in_place"),
        ("forward 1x48x1x1 64x48x1x1", "in_place"),
        ("forward 8x64x56x56 64x64x1x1", "packed"),
        ("forward 8x512x7x7 512x512x1x1 channels_last", "packed"),
        ("forward 1x512x7x7 512x512x3x3 p1 channels_last", "packed"),
    ],
)
def test_weights_of_few_pixels_are_not_packed(text: str, weights: str) -> None:
    assert GEMM.parameters(ConvProblem.parse(text))[0]["weights"] == weights


def test_few_pixels_are_four_vectors_of_them_where_channels_are_last() -> None:
    """Vectors of the ISA level in use: a plane of 7x7 is few on 16 lanes alone."""
    lanes, _, _ = runtime.tile_sizes("float32")
    for pixels, weights in ((4 * lanes, "in_place"), (4 * lanes + 1, "packed")):
        problem = ConvProblem.parse(f"forward 1x512x{pixels} 512x512x1 channels_last")
        assert GEMM.parameters(problem)[0]["weights"] == weights
