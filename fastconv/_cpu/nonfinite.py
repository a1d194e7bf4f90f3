"""Data that are not finite, in one place: what an algorithm would spread NaN and Inf over is computed again, by im2col.

A kernel that multiplies zeros around the source, or that mixes elements in a transform, says which images it has
spoiled, or that it has left the whole result. They are computed once more by an algorithm that adds up the products of
the definition and no others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .._algorithm import ROLES, Operands, Resources
from .._problem import RESULT, ConvProblem, Epilogue
from . import epilogue
from .algorithms.im2col.algorithm import Im2col
from .algorithms.reference.algorithm import Reference
from .cost import model
from .elementwise.loops import cast, cast_into
from .engine.workspace import give_back, take

WIDE = np.dtype(np.float32)


def recompute(problem: ConvProblem, operands: Operands, resources: Resources) -> None:
    """Compute by an algorithm that keeps NaN and Inf in their places, without the epilogue.

    In the workspace of the call, whose contents are lost, or beside it in as much as that leaves of the limit: half of
    the limit fits into one of them. Where that is little, plain loops may be faster than very many blocks.
    """
    direct, plain, problem = Im2col(), Reference(), problem.replace(epilogue=Epilogue())
    operands = Operands(operands.input, operands.weight, operands.output)
    most = resources.limit_bytes // 2
    params = direct.fitting(problem, most)
    machine = model.machine()  # the choice must not depend on measurements
    if params is None or (params and plain.cost(problem, {}, 1, machine) < direct.cost(problem, params, 1, machine)):
        plain.execute(problem, {}, operands, resources)
        return
    threads = resources.threads
    while threads > 1 and direct.workspace(problem, params, threads) > most:
        threads -= 1
    size, memory = direct.workspace(problem, params, threads), resources.workspace
    if memory is not None and memory.size >= size:
        direct.execute(problem, params, operands, Resources(threads, memory))
        return
    memory = take(size)
    direct.execute(problem, params, operands, Resources(threads, memory))
    give_back(memory)


def compute_again(problem: ConvProblem, operands: Operands, resources: Resources, images: Iterable[int] | None) -> None:
    """Compute again what a kernel has left to others: the images of these numbers; None: the whole result."""
    if problem.dtype not in Im2col.dtypes:
        _compute_widened(problem, operands, resources)
        return
    if images is None:
        recompute(problem, operands, resources)
        if problem.direction != "backward_weight":
            epilogue.apply(problem, operands)
        return
    for n in sorted(images):
        of_image = slice(n, n + 1)
        image = Operands(operands.input[of_image], operands.weight, operands.output[of_image], operands.bias)
        if operands.add is not None:
            image.add = operands.add[of_image]
        alone = problem.replace(batch=1)
        recompute(alone, image, resources)
        epilogue.apply(alone, image)


def _compute_widened(problem: ConvProblem, operands: Operands, resources: Resources) -> None:
    """Compute a problem of 16-bit floats, which a kernel takes as they are, in float32."""
    target, role, threads = problem.replace(dtype="float32"), RESULT[problem.direction], resources.threads
    arrays = {name: array for name in ROLES if (array := getattr(operands, name)) is not None}
    result = arrays.pop(role)
    wide = Operands(
        **{name: cast(array, WIDE, threads) for name, array in arrays.items()}, **{role: np.empty_like(result, WIDE)}
    )
    recompute(target, wide, resources)
    if problem.direction != "backward_weight":
        epilogue.apply(target, wide)
    cast_into(getattr(wide, role), result, threads)
