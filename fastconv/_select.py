"""From a problem to a plan: forced by the caller > tuned choice > cost model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from . import _config, _registry
from ._algorithm import Algorithm, Machine, Params
from ._cpu import backend
from ._cpu.lowering import lowered
from ._errors import bad_value
from ._plan import Plan
from ._problem import ConvProblem

PRECISION_LIMITS = {"highest": 2e-6, "high": 1e-5, "medium": 1e-2}
"""Largest ``ErrorBound.relative`` that a level admits; "ieee" asks for an elementwise bound instead."""

DEFAULT_MACHINE = Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10})

KEPT_PLANS = 4096
_plans: OrderedDict[tuple[object, ...], Plan] = OrderedDict()
_lock = threading.Lock()


def machine() -> Machine:
    """Constants of the cost models on this machine."""
    return DEFAULT_MACHINE


def forget_plans() -> None:
    """Drop the plans kept in memory, so that new tuned choices and settings are seen."""
    with _lock:
        _plans.clear()


def plan_for(
    problem: ConvProblem, algorithm: object = "auto", threads: int | None = None, params: Params | None = None
) -> Plan:
    """The plan for ``problem``; a repeated question is answered from memory."""
    count = _config.get_num_threads() if threads is None else _config._positive_int("threads", threads)
    if params is not None:
        return _make_plan(problem, algorithm, count, params)
    if not isinstance(algorithm, str):
        raise bad_value("algorithm", algorithm, ", ".join(["auto", *_registry.names()]))
    key = (problem, algorithm, count, _config.get_deterministic(), _config.get_workspace_limit())
    with _lock:
        found = _plans.get(key)
        if found is not None:
            _plans.move_to_end(key)
            return found
    made = _make_plan(problem, algorithm, count, None)
    with _lock:
        _plans[key] = made
        while len(_plans) > KEPT_PLANS:
            _plans.popitem(last=False)
    return made


def admitted(algorithm: Algorithm, problem: ConvProblem) -> bool:
    """Whether the problem's precision level allows the algorithm's error; only float32 has levels."""
    if problem.dtype != "float32":
        return True
    bound = algorithm.error_bound(problem)
    if problem.precision == "ieee":
        return bound.elementwise is not None
    return bound.relative <= PRECISION_LIMITS[problem.precision] or bound.elementwise is not None


def candidates(problem: ConvProblem, threads: int) -> list[tuple[Algorithm, Params, float]]:
    """Every algorithm that accepts the problem within its precision and the workspace limit, cheapest first."""
    found = []
    for algorithm in _registry.CPU:
        target = lowered(problem, algorithm.dtypes)
        if target is None or not algorithm.supports(target) or not admitted(algorithm, problem):
            continue
        params = algorithm.parameters(target)[0]
        if algorithm.workspace(target, params, threads) > _config.get_workspace_limit():
            continue
        found.append((algorithm, params, algorithm.cost(target, params, threads, machine())))
    found.sort(key=lambda entry: entry[2])
    return found


def _make_plan(problem: ConvProblem, algorithm: object, threads: int, params: Params | None) -> Plan:
    if algorithm == "auto":
        return _choose(problem, threads)
    try:
        forced = _registry.find(algorithm)  # type: ignore[arg-type]
    except KeyError:
        raise bad_value("algorithm", algorithm, ", ".join(["auto", *_registry.names()])) from None
    if not backend.accepts(forced, problem):
        able = [name.name for name in _registry.CPU if backend.accepts(name, problem)]
        raise bad_value("algorithm", algorithm, f"one that supports {problem}: {', '.join(able)}")
    if params is None:
        target = lowered(problem, forced.dtypes)
        assert target is not None
        params = forced.parameters(target)[0]
    return _bind(problem, forced, params, threads, "forced")


def _choose(problem: ConvProblem, threads: int) -> Plan:
    deterministic = _config.get_deterministic()
    ranked = candidates(problem, 1 if deterministic else threads)
    best, params, _ = ranked[0]
    return _bind(problem, best, params, threads, "cost model", [(a.name, seconds) for a, _, seconds in ranked])


def _bind(
    problem: ConvProblem,
    algorithm: Algorithm,
    params: Params,
    threads: int,
    reason: str,
    considered: Sequence[tuple[str, float]] = (),
) -> Plan:
    size = backend.workspace_bytes(algorithm, problem, params, threads)
    return Plan(problem, algorithm, params, threads, size, reason, tuple(considered))
