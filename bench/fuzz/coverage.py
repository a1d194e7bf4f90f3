"""What was exercised: so that a fuzzer that tests nothing shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fastconv._backend import algorithm_names

from . import device
from .generate import TURNS


def functions() -> list[str]:
    """The names of all functions that cases are drawn for; plans are one."""
    found = dict.fromkeys(
        function.replace("*", str(rank))
        for function in TURNS
        if not function.startswith("plan.")
        for rank in ((1, 2, 3) if "*" in function else (0,))
    )
    return [*found, "plan"]


def missing(counts: Counter[str], least: int, algorithms: Iterable[str] = ()) -> list[str]:
    """Functions, and algorithms in each direction, that were exercised fewer than ``least`` times."""
    wanted = [f"function {name}" for name in functions()]
    wanted += [f"algorithm {name} {direction}" for name in algorithms for direction in DIRECTIONS]
    return [f"{key}: {counts[key]}" for key in wanted if counts[key] < least]


DIRECTIONS = ("forward", "backward_input", "backward_weight")


def available() -> list[str]:
    """Algorithms that this machine runs."""
    return [algorithm.name for algorithm in device.backend().algorithms if algorithm.is_available()]


def table(counts: Counter[str]) -> str:
    """Counts by function, algorithm and direction."""
    lines = [f"{'algorithm':16s}" + "".join(f"{direction:>17s}" for direction in (*DIRECTIONS, "backward"))]
    for name in ["auto", *algorithm_names(device.backend())]:
        cells = (counts[f"algorithm {name} {direction}"] for direction in (*DIRECTIONS, "backward"))
        lines.append(f"{name:16s}" + "".join(f"{count:17d}" for count in cells))
    named = [f"{name} {counts[f'function {name}']}" for name in functions()]
    lines.append("functions: " + ", ".join(named))
    levels = [key.removeprefix("isa ") for key in counts if key.startswith("isa ")]
    refusals = sum(count for key, count in counts.items() if key.startswith("refusal "))
    lines.append(f"refusals: {refusals}; ISA {', '.join(levels)}")
    return "\n".join(lines)
