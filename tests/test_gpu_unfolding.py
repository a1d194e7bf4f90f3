"""unfold and fold on the GPU: what they read and write, plain kernels, changed kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import fastconv
import gpu_cases
from array_modules import ArrayModule, array_module, assert_equal
from fastconv._blocks import Blocks
from fastconv._gpu import layout, source
from fastconv._gpu.unfolding import algorithm
from gpu_launches import start, traffic

NUMPY = ArrayModule("numpy", np)
CASES = [case for case in gpu_cases.CASES if "fold" in case.name]
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 3, 9, 8), (3, 3), {"padding": 1}),
    "odd": ((1, 2, 7, 9), (3, 2), {"padding": (1, 2), "dilation": (1, 3)}),
    "steps of 2": ((2, 2, 8, 16), (3, 3), {"stride": 2, "padding": 1}),
    "steps of 3": ((1, 2, 9, 12), (2, 3), {"stride": (2, 3), "dilation": (2, 1)}),
    "large steps": ((1, 2, 13, 18), (3, 7), {"stride": (5, 6), "dilation": 2, "padding": (0, 3)}),
    "patches": ((1, 3, 10, 15), (5, 5), {"stride": 5}),
    "many taps": ((1, 1, 12, 14), (9, 8), {"padding": (2, 3)}),
    "1-D": ((2, 3, 30), (4,), {"stride": 2, "padding": 1}),
    "3-D": ((1, 2, 5, 6, 4), (2, 3, 2), {"stride": (2, 1, 2), "padding": (1, 0, 1)}),
}


def forget() -> None:
    algorithm.unfold_launches.cache_clear()
    algorithm.fold_launches.cache_clear()


@pytest.fixture(autouse=True)
def _launches_are_made_anew() -> Any:
    forget()
    yield
    forget()


def calls(name: str, dtype: str = "float32") -> list[gpu_cases.Case]:
    """unfold and fold of small integers."""
    shape, kernel, settings = SHAPES[name]
    image = gpu_cases.integers(*shape, dtype=dtype)
    columns = fastconv.unfold(image, kernel, **settings)
    given = gpu_cases.integers(*columns.shape, dtype=dtype)
    return [
        gpu_cases.Case("unfold", fastconv.unfold, (image, kernel), settings),
        gpu_cases.Case("fold", fastconv.fold, (given, shape[2:], kernel), settings),
    ]


def check(one: gpu_cases.Case) -> None:
    with array_module("emulated") as gpu:
        assert_equal(gpu.host(one(gpu)), one(NUMPY))


@pytest.mark.parametrize("wanted_units", [1, 2**17])
@pytest.mark.parametrize("name", SHAPES)
def test_equal_to_the_cpus(name: str, wanted_units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm, "WANTED_UNITS", wanted_units)
    for one in calls(name):
        check(one)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint16", "complex128"])
def test_every_size_of_elements(dtype: str) -> None:
    for name in ("3x3", "steps of 2"):
        for one in calls(name, dtype):
            check(one)


def test_wide_offsets_and_batches_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    monkeypatch.setattr(algorithm, "MAX_THREADS", 700)
    for one in calls("steps of 2"):
        check(one)


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_plain_kernels_compute_the_same(one: gpu_cases.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm, "_fits", lambda *_: False)
    check(one)


FEWEST_FOR = {
    # size, kernel, stride, padding
    "3x3": (32, 3, 1, 1),
    "3x3 s2": (32, 3, 2, 1),
    "2x2": (32, 2, 2, 0),
    "patches": (64, 8, 8, 0),
    "5x5": (28, 5, 1, 2),
}
PARTS_OF_FEWEST = 1.15


@pytest.mark.parametrize("name", FEWEST_FOR)
def test_few_more_sectors_than_there_must_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both arrays once."""
    monkeypatch.setattr(algorithm, "WANTED_UNITS", 1)
    size, kernel, stride, pad = FEWEST_FOR[name]
    count, dtype = (size + 2 * pad - kernel) // stride + 1, np.dtype(np.float32)
    blocks = Blocks(True, 1, 4, (size, size), (kernel,) * 2, (1, 1), (stride,) * 2, ((pad, pad),) * 2, (count, count))
    with emulated_cupy.pretend():
        image, columns = emulated_cupy.ones(blocks.image_shape, dtype), emulated_cupy.ones(blocks.columns_shape, dtype)
        n, c, h, w = (stride // 4 for stride in image.strides)
        unfold = algorithm.unfold_launches(blocks, dtype, (n, c, 0, h, w))
        start(emulated_cupy, unfold, {"source": image, "result": columns})
        moved = traffic(emulated_cupy, unfold)
        least = (math.prod(image.shape) + math.prod(columns.shape)) / 8
        assert moved.loaded + moved.stored <= PARTS_OF_FEWEST * least, (moved, least)
        n, row, column = (stride // 4 for stride in columns.strides)
        fold = algorithm.fold_launches(blocks, dtype, (n, row, 0, 0, column))
        start(emulated_cupy, fold, {"source": columns, "result": image})
        moved = traffic(emulated_cupy, fold)
        assert moved.loaded + moved.stored <= PARTS_OF_FEWEST * least, (moved, least)


MUTATIONS = (
    # case, file, what is changed, into what: each must change a result or be reported
    ("3x3", "kernels.cu", "if (index >= c.count) return;", ""),
    ("3x3", "kernels.cu", "(fc_u32)(j + y * D1) < (fc_u32)c.size[1]", "true"),
    ("odd", "kernels.cu", "(fc_u32)(k + offset) < (fc_u32)c.size[2]", "true"),
    ("steps of 2", "kernels.cu", "x * D2 + v * S2", "x * D2 + v"),
    ("3-D", "kernels.cu", "row - kd * K1", "row"),
    ("large steps", "kernels.cu", "distance % DISTANCE == 0 && ", ""),
    ("steps of 2", "kernels.cu", "distance / DISTANCE < KERNEL ?", "true ?"),
    ("steps of 2", "kernels.cu", "(fc_u32)oh >= (fc_u32)c.counts[1]", "false"),
    ("3x3", "kernels.cu", "(fc_u32)ow >= (fc_u32)c.counts[2]", "false"),
    ("steps of 2", "kernels.cu", "rest(place % STEP)", "rest(0)"),
    ("steps of 2", "kernels.cu", "last(place / STEP)", "last(0)"),
    ("odd", "plain.cu", "there % c.stride[axis] == 0 && ", "there % 2 == 0 && "),
)


@pytest.mark.parametrize(("name", "file", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(
    name: str, file: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(algorithm, "WANTED_UNITS", 1)
    if file == "plain.cu":
        monkeypatch.setattr(algorithm, "_fits", lambda *_: False)
    read = source._text

    def edited(path: str) -> str:
        text = read(path)
        assert path != f"unfolding/{file}" or old in text
        return text.replace(old, new) if path == f"unfolding/{file}" else text

    monkeypatch.setattr(source, "_text", edited)
    found = 0
    for one in calls(name):
        try:
            check(one)
        except (AssertionError, emulated_cupy.KernelError):
            found += 1
    assert found
