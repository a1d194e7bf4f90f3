"""What convolution obeys, exactly in integers: the adjoint identities, linearity, shifts, blocks, other ranks."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from fastconv._cpu import backend
from operands import ALGORITHMS, accepted, compute, integers, place, rounded
from problems import SHAPES

NAMES = [algorithm.name for algorithm in ALGORITHMS]
SHAPE_LIST = [shape for name in SHAPES for shape in SHAPES[name]]


def run(problem: ConvProblem, algorithm: str, **operands: np.ndarray) -> np.ndarray:
    """The result as int64."""
    arrays = {role: place(problem, role, array) for role, array in operands.items()}
    return rounded(compute(problem, algorithm, arrays, threads=2)).astype(np.int64)


def accepts(algorithm: str, *problems: ConvProblem) -> bool:
    return all(backend.accepts(find_algorithm(algorithm), problem) for problem in problems)


@pytest.mark.parametrize("shape", SHAPE_LIST)
def test_the_gradients_are_adjoints(shape: str) -> None:
    """<dy, conv(x, w)> = <dx, x> = <dw, w>, each side by every algorithm that computes it."""
    problem = ConvProblem.parse(f"forward {shape}")
    x, w = integers(problem.input_shape, 1), integers(problem.weight_shape, 2)
    dy = integers(problem.output_shape, 3)
    gradients = [("forward", dy, {"input": x, "weight": w})]
    gradients.append(("backward_input", x, {"output": dy, "weight": w}))
    gradients.append(("backward_weight", w, {"input": x, "output": dy}))
    products = {}
    for direction, other, operands in gradients:
        directed = problem.replace(direction=direction)
        for algorithm in accepted(directed):
            products[direction, algorithm] = int((run(directed, algorithm, **operands) * other).sum())
    assert len(set(products.values())) == 1, products


def sample(algorithm: str) -> list[ConvProblem]:
    """A handful of forward problems that the algorithm accepts, spread over the lists."""
    found = [ConvProblem.parse(f"forward {shape}") for shapes in SHAPES.values() for shape in shapes[1:4]]
    return [problem for problem in found if accepts(algorithm, problem)]


@pytest.mark.parametrize("algorithm", NAMES)
def test_linear_in_both_operands(algorithm: str) -> None:
    for problem in sample(algorithm):
        x, w = integers(problem.input_shape, 1, 2), integers(problem.weight_shape, 2, 2)
        x2, w2 = integers(problem.input_shape, 3, 2), integers(problem.weight_shape, 4, 2)
        both = run(problem, algorithm, input=2 * x + x2, weight=w - w2)
        parts = ((2, x, w), (1, x2, w), (-2, x, w2), (-1, x2, w2))
        total = sum(factor * run(problem, algorithm, input=a, weight=b) for factor, a, b in parts)
        np.testing.assert_array_equal(both, total, str(problem))


@pytest.mark.parametrize("algorithm", NAMES)
def test_an_impulse_gives_the_kernel(algorithm: str) -> None:
    """One 1 in the middle of the input: the output is the kernel, not flipped by the two reversals of position."""
    problem = ConvProblem.parse("forward 1x1x11x13 5x1x3x4 p1x2")
    if not accepts(algorithm, problem):
        pytest.skip("declined")
    x, w = np.zeros(problem.input_shape, np.int64), integers(problem.weight_shape, 2)
    x[..., 5, 6] = 1
    y = run(problem, algorithm, input=x, weight=w)
    np.testing.assert_array_equal(y[0, :, :, 4:7, 5:9], w[:, 0, :, ::-1, ::-1])
    assert np.count_nonzero(y) == w.size


@pytest.mark.parametrize("algorithm", NAMES)
def test_shifts(algorithm: str) -> None:
    """Shifting the input by the stride shifts the output by one, away from the borders."""
    for text in ("2x3x20x23 4x3x3x3 s2x3", "1x2x40 3x2x5 s4 d2", "1x4x12x13 4x1x3x3 g4"):
        problem = ConvProblem.parse(f"forward {text}")
        if not accepts(algorithm, problem):
            continue
        x, w = integers(problem.input_shape, 1), integers(problem.weight_shape, 2)
        step = problem.stride[1:] if problem.input_size[1] > 1 else (0, problem.stride[2])
        moved = np.roll(x, step, axis=(3, 4))
        y = run(problem, algorithm, input=x, weight=w)
        shifted = run(problem, algorithm, input=moved, weight=w)
        rows = 1 if step[0] else 0
        np.testing.assert_array_equal(shifted[:, :, :, rows:, 1:], y[:, :, :, : y.shape[3] - rows, :-1])


@pytest.mark.parametrize("algorithm", NAMES)
def test_groups_are_blocks(algorithm: str) -> None:
    for text in (*SHAPES["grouped"], *SHAPES["depthwise"]):
        problem = ConvProblem.parse(f"forward {text}")
        groups = problem.groups
        block = problem.replace(
            groups=1, in_channels=problem.in_channels // groups, out_channels=problem.out_channels // groups
        )
        if not accepts(algorithm, problem, block):
            continue
        x, w = integers(problem.input_shape, 1), integers(problem.weight_shape, 2)
        parts = [
            run(block, algorithm, input=a, weight=b)
            for a, b in zip(np.split(x, groups, 1), np.split(w, groups, 0), strict=True)
        ]
        whole = run(problem, algorithm, input=x, weight=w)
        np.testing.assert_array_equal(whole, np.concatenate(parts, 1), str(problem))


@pytest.mark.parametrize("algorithm", NAMES)
def test_lower_ranks_are_special_cases(algorithm: str) -> None:
    """The same numbers along W, along H and along D."""
    for direction, result in (("forward", 2), ("backward_input", 0), ("backward_weight", 1)):
        problem = ConvProblem.parse(f"{direction} 2x4x31 6x2x4 s3 p2:1 d2 g2")
        arrays = [
            integers(problem.input_shape, 1),
            integers(problem.weight_shape, 2),
            integers(problem.output_shape, 3),
        ]
        roles = ("input", "weight", "output")
        results = []
        for axis in (4, 3, 2):
            order = [4 if a == axis else axis if a == 4 else a for a in range(5)]  # exchanges W and the axis
            turn = [a - 2 for a in order[2:]]
            permuted = problem.replace(
                **{
                    name: tuple(getattr(problem, name)[i] for i in turn)
                    for name in ("input_size", "kernel_size", "stride", "padding", "dilation")
                }
            )
            if not accepts(algorithm, permuted):
                continue
            operands = {roles[i]: arrays[i].transpose(order) for i in range(3) if i != result}
            results.append(run(permuted, algorithm, **operands).transpose(order))
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other, direction)


@pytest.mark.parametrize("algorithm", NAMES)
def test_images_do_not_see_each_other(algorithm: str) -> None:
    for direction in ("forward", "backward_input"):
        problem = ConvProblem.parse(f"{direction} 5x3x9x10 7x3x3x3 s2x1 p1")
        one = problem.replace(batch=1)
        if not accepts(algorithm, problem, one):
            continue
        role = "input" if direction == "forward" else "output"
        data = integers(problem.input_shape if role == "input" else problem.output_shape, 1)
        w = integers(problem.weight_shape, 2)
        whole = run(problem, algorithm, **{role: data}, weight=w)
        for n in range(problem.batch):
            np.testing.assert_array_equal(
                whole[n : n + 1], run(one, algorithm, **{role: data[n : n + 1]}, weight=w), direction
            )


@pytest.mark.parametrize("algorithm", NAMES)
def test_weight_gradients_add_up_over_images(algorithm: str) -> None:
    problem = ConvProblem.parse("backward_weight 5x3x9x10 7x3x3x3 s2x1 p1")
    one = problem.replace(batch=1)
    if not accepts(algorithm, problem, one):
        pytest.skip("declined")
    x, dy = integers(problem.input_shape, 1), integers(problem.output_shape, 3)
    parts = [run(one, algorithm, input=x[n : n + 1], output=dy[n : n + 1]) for n in range(5)]
    np.testing.assert_array_equal(run(problem, algorithm, input=x, output=dy), sum(parts))


@pytest.mark.parametrize("algorithm", NAMES)
def test_dilation_is_a_kernel_with_zeros_between(algorithm: str) -> None:
    problem = ConvProblem.parse("forward 2x3x17x19 4x3x3x2 s2x1 p2 d3x4")
    stuffed = problem.replace(dilation=(1, 1, 1), kernel_size=(1, 7, 5))
    if not accepts(algorithm, problem, stuffed):
        pytest.skip("declined")
    x, w = integers(problem.input_shape, 1), integers(problem.weight_shape, 2)
    wide = np.zeros(stuffed.weight_shape, np.int64)
    wide[..., ::3, ::4] = w
    np.testing.assert_array_equal(
        run(problem, algorithm, input=x, weight=w), run(stuffed, algorithm, input=x, weight=wide)
    )


@pytest.mark.parametrize("algorithm", NAMES)
def test_a_stride_is_a_subsample(algorithm: str) -> None:
    dense = ConvProblem.parse("forward 2x3x17x19 4x3x3x2 p2x1 d2")
    strided = dense.replace(stride=(1, 3, 4))
    if not accepts(algorithm, dense, strided):
        pytest.skip("declined")
    x, w = integers(dense.input_shape, 1), integers(dense.weight_shape, 2)
    np.testing.assert_array_equal(
        run(strided, algorithm, input=x, weight=w), run(dense, algorithm, input=x, weight=w)[:, :, :, ::3, ::4]
    )


@pytest.mark.parametrize("algorithm", NAMES)
def test_padding_is_zeros_in_the_array(algorithm: str) -> None:
    padded = ConvProblem.parse("forward 2x3x9x8 4x3x3x3 s2 p1:3x2:-1")
    plain = padded.replace(padding=((0, 0),) * 3, input_size=(1, 13, 9))
    if not accepts(algorithm, padded, plain):
        pytest.skip("declined")
    x, w = integers(padded.input_shape, 1), integers(padded.weight_shape, 2)
    larger = np.pad(x[..., :-1], ((0, 0), (0, 0), (0, 0), (1, 3), (2, 0)))
    np.testing.assert_array_equal(
        run(padded, algorithm, input=x, weight=w), run(plain, algorithm, input=larger, weight=w)
    )


def test_transposed_is_the_adjoint_in_public() -> None:
    """conv_transpose2d(y, w) and conv2d(x, w) are adjoint with the same w, settings and size."""
    x, w = integers((2, 4, 9, 11), 1), integers((6, 2, 3, 4), 2)
    settings = {"stride": (2, 3), "padding": ((1, 2), (0, 1)), "dilation": (2, 1), "groups": 2}
    y = fastconv.conv2d(x.astype(np.float32), w.astype(np.float32), **settings)
    dy = integers(y.shape, 3)
    dx = fastconv.conv_transpose2d(dy.astype(np.float32), w.astype(np.float32), output_size=(9, 11), **settings)
    assert dx.shape == x.shape
    assert (y * dy).sum(dtype=np.int64) == (dx * x).sum(dtype=np.int64)
