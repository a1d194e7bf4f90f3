"""Packed weights of every algorithm, written by one process and multiplied by in another one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv._backend import algorithm_names, find_algorithm
from fastconv._cpu import backend

GEOMETRIES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("conv2d", (1, 8, 12, 12), (16, 8, 3, 3), {"layout": "NCHW"}),
    ("conv2d", (1, 8, 12, 12), (8, 8, 3, 3), {"layout": "NCHW"}),
    ("conv2d", (2, 40, 9, 10), (72, 40, 3, 3), {"layout": "NCHW"}),
    ("depthwise_conv2d", (1, 8, 12, 12), (8, 1, 3, 3), {"layout": "NCHW"}),
    ("depthwise_conv2d", (1, 12, 12, 20), (20, 1, 3, 3), {"layout": "NHWC"}),
    ("conv2d", (1, 12, 12, 32), (32, 4, 3, 3), {"layout": "NHWC", "groups": 8}),
    ("conv1d", (1, 1, 4096), (1, 1, 512), {"layout": "NCW"}),
]
"""Every algorithm takes one of these."""


_references: dict[str, np.ndarray] = {}
"""Results by the definition, of the operands that every process has."""


def plans(algorithm: str, direction: str, dtype: str) -> Iterator[fastconv.PlannedConvolution]:
    """Plans of those problems that ``algorithm`` takes."""
    for name, x_shape, w_shape, geometry in GEOMETRIES:
        settings = {"direction": direction, **geometry}
        problem = fastconv.plan(name, x_shape, w_shape, dtype, **settings).choice.problem
        if backend.accepts(find_algorithm(algorithm), problem):
            yield fastconv.plan(name, x_shape, w_shape, dtype, **settings, algorithm=algorithm)


def operands(planned: fastconv.PlannedConvolution) -> tuple[np.ndarray, np.ndarray]:
    """x or dy, and w; the same in every process."""
    rng = np.random.default_rng(1)
    described, dtype = planned._signature.described, planned.choice.problem.dtype
    shape = described.x_shape if planned._signature.direction == "forward" else described.y_shape
    source, w = rng.standard_normal(shape), rng.standard_normal(described.w_shape)
    return source.astype(dtype), w.astype(dtype)


def write(path: Path) -> None:
    """Pickle every plan and its packed weight."""
    found = [
        (planned, planned.pack(operands(planned)[1]))
        for algorithm in algorithm_names()
        for direction in ("forward", "backward_input")
        for dtype in ("float32", "float64")
        for planned in plans(algorithm, direction, dtype)
    ]
    path.write_bytes(pickle.dumps(found))


def check(path: Path) -> int:
    """Multiply by the weights that ``write`` has written; how many had their algorithm here."""
    kept = 0
    for planned, packed in pickle.loads(path.read_bytes()):
        source, w = operands(planned)
        np.testing.assert_array_equal(packed.weight, w)
        expected = planned(source, w)
        for _ in range(2):  # checked and planned; launched
            np.testing.assert_array_equal(planned(source, packed), expected, str(planned))
        kept += _check_against_a_plan_made_here(planned, packed, source, expected)
    return kept


def _check_against_a_plan_made_here(
    planned: fastconv.PlannedConvolution, packed: Any, source: np.ndarray, expected: np.ndarray
) -> bool:
    """The same arguments give the same bits where the choice is the same, too; else the packed weight is refused."""
    *arguments, settings, _, direction, _, _ = planned._signature.arguments
    inner = ("transposed", "depthwise", "allow_empty")
    options = {name: value for name, value in settings._asdict().items() if name not in inner}
    choice = planned.choice
    here = fastconv.plan(*arguments, **options, direction=direction, algorithm=choice.algorithm.name)
    if dict(here.choice.params) == dict(choice.params):
        np.testing.assert_array_equal(here(source, packed), expected, str(planned))
    else:
        with pytest.raises(ValueError, match="packed by another plan"):
            here(source, packed)
    problem = str(choice.problem)
    if problem not in _references:
        reference = fastconv.plan(*arguments, **options, direction=direction, algorithm="reference")
        _references[problem] = reference(source, packed.weight)
    atol = 1e-4 * np.abs(_references[problem]).max()
    np.testing.assert_allclose(expected, _references[problem], rtol=0, atol=atol, err_msg=str(planned))
    return choice.reason == "forced"
