"""Images whose results are not finite, computed again where an algorithm spreads NaN and Inf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._algorithm import Machine, Operands, Resources
from .._problem import ConvProblem, Epilogue
from .algorithms.im2col.algorithm import Im2col
from .algorithms.reference.algorithm import Reference
from .engine.workspace import give_back, take

TYPICAL = Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10})
"""What is compared on; the choice must not depend on measurements."""


def recompute(problem: ConvProblem, operands: Operands, resources: Resources) -> None:
    """Compute by an algorithm that keeps NaN and Inf in their places, without the epilogue.

    In the workspace of the call, whose contents are lost, or beside it in as much as that leaves of the limit: half of
    the limit fits into one of them. Where that is little, plain loops may be faster than very many blocks.
    """
    direct, plain, problem = Im2col(), Reference(), problem.replace(epilogue=Epilogue())
    operands = Operands(operands.input, operands.weight, operands.output)
    most = resources.limit_bytes // 2
    params = direct.fitting(problem, most)
    if params is None or (params and plain.cost(problem, {}, 1, TYPICAL) < direct.cost(problem, params, 1, TYPICAL)):
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


def recompute_images(
    problem: ConvProblem, operands: Operands, numbers: Iterable[int], resources: Resources
) -> Iterator[tuple[ConvProblem, Operands]]:
    """Compute the images of these numbers again, one by one, and yield each as a problem without its epilogue yet."""
    for n in sorted(numbers):
        images = slice(n, n + 1)
        image = Operands(operands.input[images], operands.weight, operands.output[images], operands.bias)
        if operands.add is not None:
            image.add = operands.add[images]
        alone = problem.replace(batch=1)
        recompute(alone, image, resources)
        yield alone, image
