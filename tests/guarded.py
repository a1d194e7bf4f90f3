"""Arrays that end or begin at unreadable memory, and the run that computes on them in a process that may crash.

python tests/guarded.py --algorithm NAME prints every problem before it is computed: the last line is the culprit.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
from typing import Literal

import numpy as np
from hypothesis import Phase, given, settings

from fastconv import ConvProblem
from fastconv._cpu import backend
from fastconv._cpu.engine import workspace
from operands import ALGORITHMS, RESULT, compute, exact_case, memory_axes, result_dtype, rounded
from problems import EPILOGUES, conv_problems, named, problems

Edge = Literal["end", "start"]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded_bytes(size: int, edge: Edge, alignment: int = 1) -> np.ndarray:
    """``size`` bytes flush against a page without access at one edge, and with one at the other."""
    page = mmap.PAGESIZE
    inner = max(-(-size // page), 1) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (address, address + page + inner):
        if _libc.mprotect(guard, page, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = page if edge == "start" else page + inner - -(-size // alignment) * alignment
    return np.frombuffer(memory, np.uint8, size, offset)


def guarded(array: np.ndarray, axes: tuple[int, ...], edge: Edge) -> np.ndarray:
    """A copy of ``array`` in guarded memory, its axes stored in the order ``axes``, slowest first."""
    stored = array.transpose(axes)
    copy = guarded_bytes(array.nbytes, edge).view(array.dtype).reshape(stored.shape)
    copy[...] = stored
    return copy.transpose(np.argsort(axes))


def check(problem: ConvProblem, algorithm: str, edge: Edge, threads: int = 2) -> None:
    """Compute on guarded arrays and workspace and compare with integer arithmetic."""
    operands, expected = exact_case(problem)
    axes = {role: memory_axes(problem, role) if array.ndim == 5 else (0,) for role, array in operands.items()}
    arrays = {role: guarded(array, axes[role], edge) for role, array in operands.items()}
    role = RESULT[problem.direction]
    empty = np.full(expected.shape, 77, result_dtype(problem.dtype))
    result = guarded(empty, memory_axes(problem, role), edge)
    with workspace.watched(lambda size: guarded_bytes(size, edge, workspace.ALIGNMENT), lambda memory: None):
        compute(problem, algorithm, arrays, threads, result)
    found = result if (result == expected).all() else rounded(result)
    assert (found == expected).all(), f"wrong result: {problem}"


def main() -> None:
    """Every named problem and some random ones at both edges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--examples", type=int, default=60)
    options = parser.parse_args()
    algorithm = next(known for known in ALGORITHMS if known.name == options.algorithm)
    count = 0

    def both_edges(problem: ConvProblem) -> None:
        nonlocal count
        if not backend.accepts(algorithm, problem):
            return
        edges: tuple[Edge, Edge] = ("end", "start")
        for edge in edges:
            print(f"{problem}, flush at the {edge}", flush=True)
            # What one thread writes behind its workspace must not be that of another one.
            check(problem, options.algorithm, edge, 1 if edge == "end" else 2)
            count += 1

    for problem in [*named(), *problems(EPILOGUES, "float64", directions=("forward", "backward_input"))]:
        both_edges(problem)

    # No shrinking: an access outside ends the process at once.
    @settings(max_examples=options.examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
    @given(conv_problems())
    def random_problems(problem: ConvProblem) -> None:
        both_edges(problem)

    random_problems()
    print(f"{count} computations")


if __name__ == "__main__":
    main()
