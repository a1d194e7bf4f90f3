"""Sizes, indices and offsets beyond 2^31 and 2^32, on little memory: every algorithm counts in 64 bits.

Inputs of 2^31 elements and more are repeated rows (stride 0), or lie far apart in address space that is never touched;
results are small because the stride is large.
"""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _config
from fastconv._choose import select
from fastconv._cpu import backend
from operands import ALGORITHMS, compute, integers
from subprocesses import output_of

HUGE = 2**31
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python names it from 3.13 on; this is Linux's number
NAMES = [algorithm.name for algorithm in ALGORITHMS]


def skip_if_declined(problem: ConvProblem, algorithm: str) -> None:
    """Leave out what the algorithm does not support, or would take more memory for than calls are allowed."""
    found = next(known for known in ALGORITHMS if known.name == algorithm)
    if not backend.accepts(found, problem):
        pytest.skip("declined")
    if select.plan_for(problem, algorithm, 1).workspace_bytes > _config.get_workspace_limit():
        pytest.skip("over the workspace limit")


def sampled(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The forward result element by element, for small results of large inputs; int64 and Python's own integers."""
    y = np.zeros(problem.output_shape, np.int64)
    for n, k, *pixel in np.ndindex(y.shape):
        total = 0
        for c, *tap in np.ndindex(w.shape[1:]):
            index = [
                p * step - before + t * dilation
                for p, t, step, dilation, (before, _) in zip(
                    pixel, tap, problem.stride, problem.dilation, problem.padding, strict=True
                )
            ]
            if all(0 <= i < size for i, size in zip(index, problem.input_size, strict=True)):
                group = k // (problem.out_channels // problem.groups)
                total += int(x[(n, group * w.shape[1] + c, *index)]) * int(w[(k, c, *tap)])
        y[(n, k, *pixel)] = total
    return y


# x of more than 2^31 (and 2^32) elements: rows repeated by stride 0 along H, W, D, channels or images.
BROADCAST = [
    ("forward 1x1x65537x32771 2x1x3x3 s16384", (1, 1, 1, 1, 32771)),
    ("forward 1x1x131073x32771 1x1x2x5 s65536x8192", (1, 1, 1, 1, 32771)),
    ("forward 1x2x70001x40001 3x2x3x2 s20000 p1 d3", (1, 2, 1, 70001, 1)),
    ("forward 1x1x1300x1300x1300 1x1x2x2x2 s600", (1, 1, 1, 1300, 1300)),
    ("forward 1x1x4294967301 2x1x3 s1431655765", (1, 1, 1, 1, 1)),
    ("forward 1x3x2200000001 3x1x5 s733333333 p2 g3", (1, 3, 1, 1, 1)),
    ("forward 1x1x65537x32771 2x1x3x3 s16384 channels_last", (1, 1, 1, 1, 32771)),
]


@pytest.mark.parametrize("algorithm", NAMES)
@pytest.mark.parametrize(("text", "stored"), BROADCAST)
def test_more_than_2_to_the_31_input_elements(text: str, stored: tuple[int, ...], algorithm: str) -> None:
    problem = ConvProblem.parse(text)
    assert np.prod(problem.input_shape, dtype=object) > HUGE
    skip_if_declined(problem, algorithm)
    x = np.broadcast_to(integers(stored, 1).astype(np.float32), problem.input_shape)
    w = integers(problem.weight_shape, 2).astype(np.float32)
    for threads in (1, 2):
        result = compute(problem, algorithm, {"input": x, "weight": w}, threads)
        np.testing.assert_allclose(result, sampled(problem, x, w), atol=1e-3)


FAR_APART = [
    "forward 1x1x3x3000000000 2x1x3x2 d1x2999999999",
    "forward 1x1x2500000003 1x1x3 d1250000000",
    "forward 1x1x5 1x1x3 p3000000000 s1000000000",
    "forward 1x1x5 1x1x3 p-1:3000000000 s1000000000",
    "forward 1x2x5000000001 4x1x2 s2500000000 d2 g2",
]


@pytest.mark.parametrize("algorithm", NAMES)
@pytest.mark.parametrize("text", FAR_APART)
def test_dilation_stride_and_padding_beyond_32_bits(text: str, algorithm: str) -> None:
    problem = ConvProblem.parse(text)
    skip_if_declined(problem, algorithm)
    x = np.broadcast_to(np.float32(1), problem.input_shape)
    w = integers(problem.weight_shape, 2).astype(np.float32)
    result = compute(problem, algorithm, {"input": x, "weight": w}, 1)
    np.testing.assert_allclose(result, sampled(problem, x, w), atol=1e-3)


def far_apart(shape: tuple[int, ...], strides: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """An array whose elements lie gigabytes apart in memory that is only mapped where it is touched."""
    size = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) + 1
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    try:
        memory = mmap.mmap(-1, size * np.dtype(dtype).itemsize, flags=flags)
    except OSError:
        pytest.skip(f"no {size * 4 / 2**30:.0f} GiB of address space")
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, [stride * np.dtype(dtype).itemsize for stride in strides])


@pytest.mark.skipif(sys.platform != "linux", reason="address space cannot be reserved without memory")
@pytest.mark.parametrize("algorithm", NAMES)
@pytest.mark.parametrize("axis", range(5))
def test_offsets_beyond_32_bits(axis: int, algorithm: str) -> None:
    """Each axis in turn has a stride of more than 2^31 elements: for operands and results of all three directions."""
    shape = {"input": (2, 3, 2, 4, 9), "weight": (5, 3, 2, 3, 3), "output": (2, 5, 1, 4, 4)}
    problem = ConvProblem.parse("forward 2x3x2x4x9 5x3x2x3x3 s1x1x2 p0x1x0")
    arrays = {}
    for role, sizes in shape.items():
        strides = [int(np.prod(sizes[i + 1 :])) for i in range(5)]
        strides[axis] = HUGE // 2 + 7 if axis else 2 * HUGE + 7
        arrays[role] = far_apart(sizes, tuple(strides))
    values = {role: integers(sizes, number) for number, (role, sizes) in enumerate(shape.items())}
    results = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}
    for direction, result_role in results.items():
        directed = problem.replace(direction=direction)
        skip_if_declined(directed, algorithm)
        plain = {role: array.astype(np.float32) for role, array in values.items() if role != result_role}
        for role, array in plain.items():
            arrays[role][...] = array
        operands = {role: arrays[role] for role in plain}
        expected = compute(directed, "reference", plain)
        np.testing.assert_allclose(
            compute(directed, algorithm, operands, 2, arrays[result_role]), expected, atol=1e-3, err_msg=direction
        )


@pytest.mark.parametrize("algorithm", NAMES)
def test_a_weight_gradient_over_many_pixels(algorithm: str) -> None:
    """Pixel numbers (image * height * width) beyond 2^31 in the reduction, with few of them multiplied."""
    problem = ConvProblem.parse("backward_weight 1x1x65537x32771 2x1x3x3 s16384")
    skip_if_declined(problem, algorithm)
    x = np.broadcast_to(integers((1, 1, 1, 1, 32771), 1).astype(np.float32), problem.input_shape)
    dy = integers(problem.output_shape, 3).astype(np.float32)
    expected = np.zeros(problem.weight_shape, np.int64)
    for k, h, w, r, s in np.ndindex(2, *problem.output_size[1:], 3, 3):
        expected[k, 0, 0, r, s] += int(x[0, 0, 0, h * 16384 + r, w * 16384 + s]) * int(dy[0, k, 0, h, w])
    np.testing.assert_allclose(compute(problem, algorithm, {"input": x, "output": dy}, 2), expected, atol=1e-3)


PLANNED = """
import tracemalloc
from fastconv import ConvProblem
from fastconv._choose import select
select.candidates(ConvProblem.parse("forward 1x1x30x30 1x1x31x3 p15"), 2)  # imports
for text in ("forward 1x1x3000000x3000000 1x1x31x31", "backward_weight 3000000x64x64x64 64x64x3x3 p1"):
    tracemalloc.start()
    assert select.candidates(ConvProblem.parse(text), 2)
    assert tracemalloc.get_traced_memory()[1] < 1e6, text
    tracemalloc.stop()
"""


def test_planning_takes_no_memory_of_the_size_of_the_problem() -> None:
    """All algorithms count their blocks, and list none, before anything is computed."""
    output_of(PLANNED)


def test_problems_beyond_the_address_space_are_refused() -> None:
    x = np.broadcast_to(np.float32(1), (2**20, 2**10, 2**20, 2**10))
    with pytest.raises(ValueError, match="bytes"):
        fastconv.conv2d(x, np.ones((1, 2**10, 1, 1), np.float32))
    small = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="bytes"):
        fastconv.conv2d(small, np.ones((1, 1, 1, 1), np.float32), padding=2**40)
    with pytest.raises(ValueError, match="padding"):
        fastconv.conv2d(small, np.ones((1, 1, 1, 1), np.float32), padding=2**64)


def test_pooling_of_more_than_2_to_the_31_elements() -> None:
    row = integers((32771,), 1, 3).astype(np.float32)
    x = np.broadcast_to(row, (1, 1, 65537, 32771))
    starts = (0, 16384, 32768)
    windows = [row[start : start + 3] for start in starts]
    y, index = fastconv.max_pool2d(x, 3, stride=16384, return_indices=True)
    assert y.tolist() == [[[[float(window.max()) for window in windows]] * 4]]
    columns = [start + int(np.argmax(row[start : start + 3])) for start in starts]
    assert index.tolist() == [[[[h * 16384 * 32771 + column for column in columns] for h in range(4)]]]
    mean = fastconv.avg_pool2d(x, 3, stride=16384)
    np.testing.assert_allclose(mean, np.broadcast_to([window.mean() for window in windows], (1, 1, 4, 3)), rtol=1e-6)
