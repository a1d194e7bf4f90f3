"""The weighted sums: coefficients by algorithm, kind of loop and direction, from the file of the ISA level in use."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._algorithm import Machine
from ..._problem import ConvProblem
from ..engine import runtime
from .counts import GENERAL, REAL_OF, general

UNFITTED = {"call_steps": 10.0, "products": 10.0, "source_bytes": 10.0, "result_bytes": 10.0}
"""Coefficients of what no measurement is known of: as slow as can be."""
MEASURED_AT = {"portable": "x86-64-v2", "neon": "x86-64-v2"}
"""Levels that nothing was measured at, and those with vectors of the same size, whose coefficients they take."""
Coefficients = Mapping[str, float]


class Units(NamedTuple):
    """Seconds of one multiply-add, of one byte in and out of the caches, of one fixed cost."""

    product: float
    byte: float
    memory_byte: float
    step: float

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def of(machine: Machine, dtype: str) -> Units:
        """Those of a machine: its caches are as fast as its arithmetic, in float32 multiply-adds."""
        rates = machine.multiply_adds_per_second
        arithmetic = 1 / rates[REAL_OF.get(dtype, dtype)]
        return Units(arithmetic, 1 / rates["float32"], 1 / machine.bytes_per_second, machine.call_seconds)

    def per(self, count: str) -> float:
        """Seconds of a count's unit, which its name ends with."""
        if count.endswith("_bytes"):
            return self.memory_byte if "beyond" in count else self.byte
        return self.step if count.endswith("_steps") else self.product


class _Weights(NamedTuple):
    """Seconds of each count of one loop: of the general ones, in their order, and of its own."""

    general: np.ndarray
    own: Mapping[str, float]


@functools.cache
def level() -> Mapping[str, Any]:
    """The file of the ISA level in use: "machine", "loops" and "bounds" by name and direction; {} if there is none."""
    import json  # not while fastconv is imported

    file = Path(__file__).with_name(f"{MEASURED_AT.get(runtime.isa(), runtime.isa())}.json")
    return json.loads(file.read_text()) if file.is_file() else {}  # type: ignore[no-any-return]


@functools.cache
def machine() -> Machine:
    """The machine that the coefficients were fitted on; estimates for another one scale with its constants."""
    found = level().get("machine")
    return Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10}) if found is None else Machine.of(found)


@functools.lru_cache(maxsize=1024)
def _weights(loop: str, direction: str, units: Units) -> _Weights:
    found: Coefficients = level().get("loops", {}).get(loop, {}).get(direction, UNFITTED)
    own = {name: weight * units.per(name) for name, weight in found.items() if name not in GENERAL}
    return _Weights(_in_order(found, units), own)


def _in_order(coefficients: Coefficients, units: Units) -> np.ndarray:
    return np.array([coefficients.get(name, 0.0) * units.per(name) for name in GENERAL])


@functools.lru_cache(maxsize=64)
def _bounds(direction: str, units: Units) -> tuple[Mapping[str, int], np.ndarray]:
    """The row of each algorithm, and what each takes at least as weights of the general counts."""
    found = {name: one[direction] for name, one in level().get("bounds", {}).items() if direction in one}
    rows = {name: row for row, name in enumerate(found)}
    weights = [_in_order(coefficients, units) for coefficients in found.values()]
    return rows, np.array(weights).reshape(len(weights), len(GENERAL))


@functools.lru_cache(maxsize=16)
def _least(problem: ConvProblem, machine: Machine) -> Mapping[str, float]:
    rows, weights = _bounds(problem.direction, Units.of(machine, problem.dtype))
    seconds = (weights @ general(problem)).tolist()
    return {name: seconds[row] for name, row in rows.items()}


def least_seconds(algorithm: str, problem: ConvProblem, machine: Machine) -> float:
    """What an algorithm hardly ever undercuts on one thread, whatever its parameters; 0 where that is not known."""
    return _least(problem, machine).get(algorithm, 0.0)


def seconds(loop: str, problem: ConvProblem, own: Mapping[str, float], machine: Machine) -> float:
    """The estimate on one thread for a loop, the name of an algorithm with what makes it a loop of its own."""
    weights = _weights(loop, problem.direction, Units.of(machine, problem.dtype))
    total = float(weights.general @ general(problem))
    for name, count in own.items():
        weight = weights.own.get(name)
        if weight is not None:
            total += weight * count
    return total


def forget() -> None:
    """Read the file anew."""
    for cached in (level, machine, _weights, _bounds, _least):
        cached.cache_clear()
