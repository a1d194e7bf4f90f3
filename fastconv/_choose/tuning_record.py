"""TuningRecord: what was measured for one problem and what was chosen, and its form in JSON.

Records come from files that anybody may have written, so ``from_json`` takes nothing on trust; what it accepts is still
only a hint, which selection checks against the algorithms before using it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._algorithm import Params
from .._backend import BACKENDS, CPU, find_backend
from .._problem import ConvProblem

EFFORTS = ("estimate", "measure", "exhaustive")

OUTCOMES = ("measured", "slower", "skipped", "wrong", "out of memory", "does not compile", "estimated")
"""What became of a candidate: timed to the end, dropped when clearly slower, not run because of its estimate, refused
because its result missed its bound, not able to run, for want of memory or of machine code, or not to be run."""

LONGEST_SECONDS = 1e9
LONGEST_WORD = 64
MEASURED_AT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
"""UTC; of two such texts the greater one is the later time."""
MAX_PARAMS = 16
MAX_TIMINGS = 256


FORMER_NAMES = {
    "planes": "depthwise_nchw",
    "depthwise": "depthwise_nhwc",
    "grouped": "small_groups",
    "narrow": "few_filters",
    "spectral": "fft_fused",
    "fft": "fft_scipy",
}
"""What algorithms of the CPU were called before version 0.2, in files that are still there."""

FORMER_PARAMS = {("winograd", "points"): "tile_size"}
"""What parameters were called in such files, by today's name of the algorithm, and what they are called today."""


def current_name(algorithm: str, kind: str = CPU.name) -> str:
    """Today's name of an algorithm that a file or a pickled plan names, of the backend called ``kind``."""
    return FORMER_NAMES.get(algorithm, algorithm) if kind == CPU.name else algorithm


def current_params(algorithm: str, params: Params, kind: str = CPU.name) -> Params:
    """Parameters from such a file or plan under today's names; ``algorithm`` is any of its names."""
    if kind != CPU.name:
        return params
    name = current_name(algorithm)
    return {FORMER_PARAMS.get((name, param), param): value for param, value in params.items()}


@dataclass(frozen=True)
class Timing:
    """One candidate: an algorithm with parameters, on weights as they are or packed beforehand."""

    algorithm: str
    params: Params
    packed: bool
    estimate_seconds: float
    """Estimate of the cost model."""
    seconds: float | None
    """Median of the samples; None where it did not run."""
    samples: int
    outcome: str

    def label(self) -> str:
        """The candidate as a few words."""
        words = [self.algorithm, *(f"{name}={value}" for name, value in self.params.items())]
        return " ".join(words + ["packed"] * self.packed)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "algorithm": self.algorithm,
            "params": dict(self.params),
            "packed": self.packed,
            "estimate_seconds": self.estimate_seconds,
            "seconds": self.seconds,
            "samples": self.samples,
            "outcome": self.outcome,
        }

    @classmethod
    def from_json(cls, value: object, kind: str = CPU.name) -> Timing | None:
        """The timing that plain values describe, of the backend called ``kind``; None where they describe none."""
        match value:
            case {
                "algorithm": str(written),
                "params": dict(params),
                "packed": bool(packed),
                "estimate_seconds": estimate,
                "seconds": seconds,
                "samples": int(samples),
                "outcome": str(outcome),
            } if (
                _is_word(written)
                and _are_params(params)
                and is_seconds(estimate)
                and (seconds is None or is_seconds(seconds))
                and not isinstance(samples, bool)
                and 0 <= samples < 2**31
                and outcome in OUTCOMES
            ):
                name, current = current_name(written, kind), current_params(written, params, kind)
                return cls(name, current, packed, estimate, seconds, samples, outcome)
        return None


@dataclass(frozen=True)
class TuningRecord:
    """The choice for one problem at one number of threads, with every candidate's time.

    ``timings`` holds unpacked and packed candidates, fastest first, those without a time last.
    """

    problem: ConvProblem
    threads: int
    effort: str
    algorithm: str
    params: Params
    seconds: float | None
    """Time of the chosen algorithm; None where nothing was measured (effort "estimate")."""
    default: str
    """The algorithm that the cost model would have chosen."""
    measured_at: str
    """UTC, as in 2025-01-31T12:00:00Z."""
    timings: tuple[Timing, ...]
    backend: str = CPU.name
    """The name of the one that was measured."""
    noise: float | None = None
    """Robust standard deviation of one sample over its median: how restless the machine was; None: not known."""
    default_params: Params | None = None
    """The parameters that the cost model would have chosen; None: not known."""

    @property
    def key(self) -> tuple[str, int]:
        """What the record is stored under."""
        return str(self.problem), self.threads

    @property
    def baseline(self) -> str:
        """The algorithm that the gain is quoted against: im2col, of a GPU implicit_gemm."""
        return find_backend(self.backend).baseline

    @property
    def baseline_seconds(self) -> float | None:
        """Time of the baseline; None where it does not compute the problem or was not measured."""
        return self.best_seconds(self.baseline)

    @property
    def gain(self) -> float | None:
        """How many times faster than the baseline the choice is."""
        baseline = self.baseline_seconds
        return baseline / self.seconds if baseline is not None and self.seconds else None

    def best_seconds(self, algorithm: str, packed: bool = False) -> float | None:
        """The least time of an algorithm over its parameters; None where it was not measured."""
        times = [t.seconds for t in self.timings if (t.algorithm, t.packed) == (algorithm, packed)]
        return min((seconds for seconds in times if seconds is not None), default=None)

    def best_packed(self) -> Timing | None:
        """The fastest candidate on packed weights."""
        return next((timing for timing in self.timings if timing.packed and timing.seconds is not None), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without problem and threads: these are the record's key."""
        plain = {
            "effort": self.effort,
            "algorithm": self.algorithm,
            "params": dict(self.params),
            "seconds": self.seconds,
            "default": self.default,
            "measured_at": self.measured_at,
            "timings": [timing.to_json() for timing in self.timings],
        }
        if self.noise is not None:
            plain["noise"] = self.noise
        if self.default_params is not None:
            plain["default_params"] = dict(self.default_params)
        return plain if self.backend == CPU.name else {**plain, "backend": self.backend}

    @classmethod
    def from_json(cls, problem: str, threads: int, value: Any) -> TuningRecord | None:
        """The record that plain values describe; None where they describe none. Unknown keys are dropped."""
        match value:
            case {
                "effort": str(effort),
                "algorithm": str(written),
                "params": dict(params),
                "seconds": seconds,
                "default": str(default),
                "measured_at": str(measured_at),
                "timings": list(listed),
            } if (
                effort in EFFORTS
                and _is_word(written)
                and re.fullmatch(MEASURED_AT, measured_at)
                and _are_params(params)
                and is_seconds(seconds)
                and len(listed) <= MAX_TIMINGS
                and 1 <= threads < 2**31
                and value.get("backend", CPU.name) in BACKENDS
                and (value.get("noise") is None or is_seconds(value["noise"]))
                and _is_word(default)
                and (value.get("default_params") is None or is_choice(default, value["default_params"]))
            ):
                kind, of_default = value.get("backend", CPU.name), value.get("default_params")
                timings = tuple(Timing.from_json(entry, kind) for entry in listed)
                try:
                    parsed = ConvProblem.parse(problem)
                except ValueError:
                    return None
                if None in timings or str(parsed) != problem:
                    return None
                return cls(
                    parsed,
                    threads,
                    effort,
                    current_name(written, kind),
                    current_params(written, params, kind),
                    seconds,
                    current_name(default, kind),
                    measured_at,
                    timings,  # type: ignore[arg-type]
                    kind,
                    value.get("noise"),
                    None if of_default is None else current_params(default, of_default, kind),
                )
        return None


def is_seconds(value: object) -> bool:
    """Whether ``value`` is a number of seconds that a measurement can take."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST_SECONDS


def is_choice(name: object, params: object) -> bool:
    """Whether these can be the name of an algorithm and its parameters."""
    return _is_word(name) and isinstance(params, dict) and _are_params(params)


def _is_word(value: object) -> bool:
    """Whether ``value`` is a short text that can be printed as it is."""
    return isinstance(value, str) and len(value) <= LONGEST_WORD and value.isascii() and value.isprintable()


def _are_params(params: Mapping[object, object]) -> bool:
    """Whether names and values are of the kinds that algorithms have, and numbers are such as JSON can hold."""
    return len(params) <= MAX_PARAMS and all(
        _is_word(name) and (_is_word(value) or (isinstance(value, (bool, int, float)) and abs(value) < 2**63))
        for name, value in params.items()
    )
