"""``python -m bench errors``: largest error over largest exact result of split_bf16, by number of products.

On kinds of data that make products of bfloat16 pieces easy or hard, in every direction, for 256 channels of 3x3; the
exact result is that of float64. On the kernels of the ISA level in force.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_algorithm
from fastconv._choose.select import plan_for
from fastconv._cpu import backend
from fastconv._cpu.engine import runtime
from fastconv._problem import DIRECTIONS, RESULT

SHAPE = "2x256x14x14 256x256x3x3 p1"
PRODUCTS = {1: "medium", 3: "high", 6: "high"}
"""With a precision at which the algorithm computes so many."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
KINDS: dict[str, tuple[Draw, Draw]] = {
    "normal": (np.random.Generator.standard_normal, np.random.Generator.standard_normal),
    "uniform": (np.random.Generator.random, np.random.Generator.random),
    "normal, half of the inputs zero": (
        lambda rng, shape: np.maximum(rng.standard_normal(shape), 0),
        np.random.Generator.standard_normal,
    ),
    "lognormal": (
        lambda rng, shape: rng.lognormal(size=shape),
        lambda rng, shape: rng.lognormal(size=shape),
    ),
}
"""How the first and the second operand are drawn."""


def errors(problem: ConvProblem, kind: str) -> list[float]:
    """By number of products."""
    rng, role = np.random.default_rng(0), RESULT[problem.direction]
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    result = np.empty(shapes.pop(role), np.float32)
    drawn = zip(shapes.items(), KINDS[kind], strict=True)
    operands = {name: draw(rng, shape).astype(np.float32) for (name, shape), draw in drawn}
    exact = np.empty(result.shape)
    wide = {name: array.astype(np.float64) for name, array in operands.items()}
    backend.execute(plan_for(problem.replace(dtype="float64"), "implicit_gemm"), _operands(wide, role, exact))
    found = []
    for products, precision in PRODUCTS.items():
        one = problem.replace(precision=precision)
        params = {**plan_for(one, "split_bf16").params, "products": products}
        backend.execute(plan_for(one, "split_bf16", None, params), _operands(operands, role, result))
        found.append(float(np.abs(result - exact).max() / np.abs(exact).max()))
    return found


def _operands(given: dict[str, np.ndarray], role: str, result: np.ndarray) -> Operands:
    arrays = {**given, role: result}
    return Operands(arrays["input"], arrays["weight"], arrays["output"])


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("errors", help="errors of products of bfloat16 pieces", description=__doc__)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    if not backend.accepts(find_algorithm("split_bf16"), ConvProblem.parse(f"forward {SHAPE}")):
        raise ValueError(f"split_bf16: no kernels at {runtime.isa()}; allowed: avx512-bf16, amx")
    print(f"{runtime.isa()}; {SHAPE}\n| data, direction | {' | '.join(map(str, PRODUCTS))} |\n|---|---|---|---|")
    for kind in KINDS:
        for direction in DIRECTIONS:
            found = errors(ConvProblem.parse(f"{direction} {SHAPE}"), kind)
            print(f"| {kind}, {direction} | {' | '.join(f'{error:.1e}' for error in found)} |", flush=True)
    return 0
