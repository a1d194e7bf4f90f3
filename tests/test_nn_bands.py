"""Bands: layers in a row computed some rows at a time give what they give one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn
from fastconv.nn.inference import bands
from fastconv.nn.inference.bands import Window

RNG = np.random.default_rng(0)


@pytest.fixture(params=[1, 2000, 20_000], autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that count as large are so already in tests; bands of one row, of a few and of many."""
    monkeypatch.setattr(bands, "LARGE_BYTES", 0)
    monkeypatch.setattr(bands, "BAND_BYTES", request.param)


def check(model: nn.Module, shape: tuple[int, ...], layout: str | None = None) -> nn.Compiled:
    """Whether the compiled network computes what the network does, twice; float64, where a wrong row cannot hide."""
    model = model.astype("float64").eval()
    x = RNG.standard_normal(shape)
    wanted = model(x)
    compiled = nn.compile(model, shape, dtype="float64", layout=layout)
    for _ in range(2):
        found = compiled(x)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    return compiled


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("size", "stride", "padding", "dilation"), [
    (1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 2, 1), (3, 1, 0, 1), (3, 1, 2, 2), (2, 2, 0, 1), (3, 3, 1, 1),
    (1, 2, 0, 1), (7, 1, 3, 1), (2, 3, 1, 1),
])  # fmt: skip
def test_kernels(size: int, stride: int, padding: int, dilation: int, layout: str) -> None:
    """The layer in the middle: of one row, several, taps between the rows, rows that nobody reads."""
    model = nn.Sequential(
        nn.Conv2d(3, 17, 1), nn.ReLU6(),
        nn.Conv2d(17, 17, size, stride=stride, padding=padding, dilation=dilation, groups=17), nn.SiLU(),
        nn.Conv2d(17, 4, 3, padding=1),
    )  # fmt: skip
    compiled = check(model, (2, 3, 23, 19), layout)
    assert compiled.describe().count("in bands") == 3


@pytest.mark.parametrize("shape", [(1, 4, 1, 9), (3, 4, 9, 1), (1, 4, 2, 2), (2, 4, 31, 3)])
def test_few_rows(shape: tuple[int, ...]) -> None:
    check(nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))), shape)


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank: int) -> None:
    """A row is one element of a signal, and one slice of a volume."""
    layer = getattr(nn, f"Conv{rank}d")
    model = nn.Sequential(layer(2, 8, 3, padding=1), nn.GELU(), layer(8, 8, 3, stride=2), layer(8, 3, 1))
    compiled = check(model, (2, 2, *(9, 8, 7)[:rank]))
    assert "in bands" in compiled.describe()


def test_what_is_added_is_there_before() -> None:
    """A block's input may be added in its last layer, the result of its first layer may not."""
    inner = nn.Sequential(
        nn.Conv2d(6, 24, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 6, 1)
    )
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Residual(inner, activation=nn.ReLU()), nn.Conv2d(6, 2, 1))
    assert check(model, (2, 3, 14, 11)).describe().count("in bands") >= 3
    blocks = [nn.Residual(nn.Sequential(nn.Conv2d(6, 12, 1), nn.Conv2d(12, 6, 3, padding=1))) for _ in range(3)]
    assert check(nn.Sequential(*blocks), (2, 6, 9, 8)).describe().count("in bands") == 6
    nested = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Residual(nn.Conv2d(6, 6, 3, padding=1)), nn.Conv2d(6, 6, 3))
    check(nested, (1, 3, 9, 9))


def test_layer_norm_between() -> None:
    """As in ConvNeXt: statistics of a pixel's channels."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 7, padding=3), nn.LayerNorm2d(8), nn.Conv2d(8, 32, 1), nn.GELU(), nn.Conv2d(32, 8, 1)
    )
    check(model, (2, 3, 12, 10), "channels_last")


def test_modes_of_padding_are_computed_whole() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), nn.Conv2d(4, 2, 1)
    )
    check(model, (1, 2, 8, 8))


def test_heavy_weights_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "WEIGHT_BYTES", 0)
    compiled = check(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)), (1, 3, 9, 9))
    assert "in bands" not in compiled.describe()


def test_the_arena_is_smaller() -> None:
    model = nn.Sequential(nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 3, 1))
    compiled = check(model, (1, 3, 96, 8))
    assert compiled.arena_bytes < 64 * 96 * 8 * 8


@pytest.mark.parametrize("window", [Window(3, 1, 1), Window(3, 2, 0), Window(1, 2, 0)])
def test_rows_of_a_window(window: Window) -> None:
    first, end = window.rows(2, 5)
    assert first == 2 * window.stride - window.before
    assert end == 4 * window.stride - window.before + window.size
