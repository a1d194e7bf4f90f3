"""Images whose results are not finite, computed again where an algorithm spreads NaN and Inf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .._algorithm import Operands, Resources
from .._problem import ConvProblem, Epilogue
from .algorithms.im2col import Im2col


def recompute(problem: ConvProblem, operands: Operands, threads: int) -> None:
    """Compute by an algorithm that keeps NaN and Inf in their places, without the epilogue."""
    direct, problem = Im2col(), problem.replace(epilogue=Epilogue())
    workspace = np.empty(direct.workspace(problem, {}, threads), np.uint8)
    direct.execute(
        problem, {}, Operands(operands.input, operands.weight, operands.output), Resources(threads, workspace)
    )


def recompute_images(
    problem: ConvProblem, operands: Operands, numbers: Iterable[int], threads: int
) -> Iterator[tuple[ConvProblem, Operands]]:
    """Compute the images of these numbers again, one by one, and yield each as a problem without its epilogue yet."""
    for n in sorted(numbers):
        images = slice(n, n + 1)
        image = Operands(operands.input[images], operands.weight, operands.output[images], operands.bias)
        if operands.add is not None:
            image.add = operands.add[images]
        alone = problem.replace(batch=1)
        recompute(alone, image, threads)
        yield alone, image
