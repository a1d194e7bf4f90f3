"""Pooling on arrays that end or begin at unreadable memory, in a process that may crash; the last line says at what."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings

from guarded import Edge, guarded
from pooling_cases import FLOATS, INTEGERS, PoolCase, integer_values, pool_cases

# Rows around the lengths of vectors and of runs, with unit, double and other strides.
NAMED = [
    PoolCase(
        "max_pool", integer_values(width, (1, 2, 4, width), dtype), {"kernel_size": (3, taps), "stride": (1, step)}
    )
    for width in (7, 8, 9, 16, 17, 33, 64, 127, 128, 129, 130, 257, 260)
    for taps, step in ((3, 1), (2, 2), (3, 2), (3, 3), (7, 5))
    for dtype in ("float32", "float64", "int8")
]


def check(case: PoolCase, edge: Edge) -> None:
    """Compute on guarded copies of all arrays and compare with ordinary ones."""

    def guard(array: np.ndarray) -> np.ndarray:
        return guarded(array, tuple(range(array.ndim)), edge)

    is_maximum = "max" in case.name
    x = guard(case.given(case.x))
    out = guard(np.zeros_like(case.forward()))
    case.call("", x, out=out)
    assert (out == case.forward()).all()
    if is_maximum:
        places = case.call("", x, return_indices=True)[1]
        assert (places == case.forward(return_indices=True)[1]).all()
    if case.x.dtype.name in FLOATS:
        more = {"indices": guard(places)} if is_maximum else {}
        dx = case.call("_backward", guard(case.forward()), x, **more)
        assert (dx == case.call("_backward", case.forward(), case.given(case.x))).all()


def main() -> None:
    """Every named case and some random ones at both edges."""
    count = 0

    def both_edges(case: PoolCase) -> None:
        nonlocal count
        if not case.x.size:
            return
        edges: tuple[Edge, Edge] = ("end", "start")
        for edge in edges:
            layout = "channels last" if case.channels_last else "channels first"
            print(
                f"{case.name} {case.x.shape} {case.x.dtype} {case.settings} {layout}, flush at the {edge}", flush=True
            )
            check(case, edge)
            count += 1

    for case in NAMED:
        both_edges(case)
    for name in ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool"):
        # No shrinking: an access outside ends the process at once.
        repeat = settings(max_examples=20, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
        repeat(given(pool_cases(name, FLOATS + INTEGERS if "max" in name else FLOATS))(both_edges))()
    print(f"{count} computations")


if __name__ == "__main__":
    main()
