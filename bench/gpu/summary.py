"""Geometric means of the rows per set, beside the targets that the project has for them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastconv import ConvProblem

from ..case import rank_of

Row = dict[str, Any]
LARGE_KERNEL = 11
"""Taps of an axis."""
MANY_CHANNELS = 128


def _is_special(row: Row, problem: ConvProblem) -> bool:
    """Depthwise, grouped, 1-D, transposed, or of large kernels: where cuDNN is weak."""
    is_transposed = problem.direction == "backward_input" and max(problem.stride) > 1
    return problem.groups > 1 or rank_of(problem) == 1 or is_transposed or max(problem.kernel_size) >= LARGE_KERNEL


def _is_dense(problem: ConvProblem) -> bool:
    return problem.groups == 1 and problem.kernel_size[1:] in ((3, 3), (1, 1)) and problem.kernel_size[0] == 1


def _is_strict(row: Row, problem: ConvProblem) -> bool:
    return row["level"] == "highest" and _is_dense(problem)


def _is_half_nchw(row: Row, problem: ConvProblem) -> bool:
    return (
        row["level"] in ("float16", "bfloat16")
        and _is_dense(problem)
        and (problem.layout == "channels_first")
        and not _is_special(row, problem)
    )


def _is_wide_half(row: Row, problem: ConvProblem) -> bool:
    channels = min(problem.in_channels, problem.out_channels)
    return _is_half_nchw(row, problem) and problem.kernel_size[1:] == (3, 3) and channels >= MANY_CHANNELS


def _is_memory_bound(row: Row, problem: ConvProblem | None) -> bool:
    if problem is None:
        return True
    is_light = problem.groups == problem.in_channels > 1 or rank_of(problem) == 1
    return is_light and row["roofline"]["limit"] == "memory"


@dataclass(frozen=True)
class Set:
    """Rows that one target is for."""

    name: str
    has: Callable[[Row, Any], bool]
    value: str
    """"torch": time of torch in its better memory format over fastconv's; "share": of the ceiling reached."""
    mean: float
    """What the geometric mean is to be, at least."""
    least: float = 0.0
    """What every layer is to have, at least."""


# mma.sync reaches 63 % of what cuBLAS has by wgmma: 80 % of that are 0.5.
SETS = (
    Set("depthwise, grouped, 1-D, transposed, large kernels", _is_special, "torch", 2.0),
    Set("dense float32 strict, 3x3 and 1x1", _is_strict, "torch", 1.5),
    Set("dense float32 strict, share of FFMA or cuBLAS", _is_strict, "share", 0.7),
    Set("dense 16-bit NCHW", _is_half_nchw, "torch", 1.0, 0.7),
    Set("dense 16-bit NCHW 3x3 of 128 channels, share of cuBLAS", _is_wide_half, "share", 0.5),
    Set("memory-bound: depthwise, 1-D, pooling, share of copies", _is_memory_bound, "share", 0.85),
)


def value_of(row: Row, what: str) -> float | None:
    """The row's ratio to torch at its best, or its share of the ceiling; None where it has none."""
    if what == "share":
        share: float | None = row["roofline"]["share"]
        return share
    ratios = [
        cell["ratio"] for name, cell in row["contestants"].items() if name.startswith("torch") and "ratio" in cell
    ]
    return min(ratios, default=None)


def lines(rows: Sequence[Row]) -> list[str]:
    """A table of the sets, and how many rows have no time."""
    made = [f"{'set':60}  rows   mean  target  least  layer of the least"]
    for one in SETS:
        found = _values(one, rows)
        if not found:
            made.append(f"{one.name:60}     0      -  {one.mean:6.2f}      -")
            continue
        mean = statistics.geometric_mean(value for value, _ in found)
        least, row = min(found, key=lambda pair: pair[0])
        missed = "" if mean >= one.mean and least >= one.least else "  MISSED"
        made.append(
            f"{one.name:60}  {len(found):4d}  {mean:5.2f}  {one.mean:6.2f}  {least:5.2f}  "
            f"{row['layer']} {row['pass']} {row['level']}{missed}"
        )
    failed = [row for row in rows if "reason" in row["contestants"].get("fastconv", {})]
    made += [f"NOT TIMED {row['problem']}: {row['contestants']['fastconv']['reason']}" for row in failed]
    return made


def _values(one: Set, rows: Iterable[Row]) -> list[tuple[float, Row]]:
    found = []
    for row in rows:
        value = value_of(row, one.value)
        problem = _problem(row)
        if value and (one.has(row, problem) if problem is not None else one.has is _is_memory_bound):
            found.append((value, row))
    return found


def line(row: Row) -> str:
    """One row as it is printed when it has been measured."""
    cells, share = row["contestants"], row["roofline"]["share"]
    own = cells["fastconv"]
    head = f"{row['layer'][:28]:28} {row['pass']:8} {row['level']:9} {_layout(row):5}"
    if "seconds" not in own:
        return f"{head} {own.get('reason', 'not timed')}"
    others = " ".join(
        f"{name} {cell['ratio']:.2f}" for name, cell in cells.items() if name != "fastconv" and "ratio" in cell
    )
    limit = f"{share:4.0%} of the {row['roofline']['limit']:8}"
    return f"{head} {own['seconds'] * 1e6:9.1f} us  {limit}  {others}  {own.get('note', '')}"


def _layout(row: Row) -> str:
    return "NHWC" if "channels_last" in row["problem"].split() else "NCHW"


def _problem(row: Row) -> ConvProblem | None:
    """The row's; None if it is one of pooling."""
    return None if "_pool2d" in row["problem"] else ConvProblem.parse(row["problem"])
