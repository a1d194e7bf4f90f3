"""From a problem to a plan: forced by the caller > tuned choice > bundled choice > cost model."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import _config
from .._algorithm import Algorithm, Machine, Params
from .._backend import CPU, Backend, CallCache, algorithm_names, array_key, find_algorithm, find_backend
from .._errors import bad_value, no_choice
from .._late import late
from .._plan import Plan
from .._problem import ConvProblem, Epilogue
from . import alike

if TYPE_CHECKING:
    from .tuning_cache import Content
    from .tuning_record import TuningRecord

Choice = tuple[Algorithm, Params]

PRECISION_LIMITS = {"highest": 2e-6, "high": 1e-5, "medium": 1e-2}
"""Largest ``ErrorBound.relative`` that a level admits; "ieee" asks for an elementwise bound instead."""

MULTIPLY_ADDS_PER_THREAD = 250_000
"""Starting another thread costs about as much as this work."""

KEPT_PLANS = 4096
call_cache = CallCache(KEPT_PLANS, array_key)
"""Prepared calls by their arguments; ``_execute`` looks them up here."""
_plans: OrderedDict[tuple[object, ...], Plan] = OrderedDict()
_lock = threading.RLock()
"""Reentrant: a signal handler may take it in the middle of a call that holds it."""


def _after_fork_in_child() -> None:
    """Make a new lock: a thread that held the old one when the process was forked is not there to release it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def machine(backend: Backend = CPU) -> Machine:
    """Constants of the cost models: those of the machine at hand, unless the choice must not depend on it."""
    if _config.get_deterministic():
        return backend.default_machine()
    return backend.machine_here(_stored(backend).machine)


def _stored(backend: Backend) -> Content:
    content: Content = late("fastconv._choose.tuning_cache").current(backend).content
    return content


def forget_plans() -> None:
    """Drop the plans kept in memory, so that new tuned choices and settings are seen."""
    with _lock:
        _plans.clear()
    alike.forget()
    call_cache.forget()


def plan_for(
    problem: ConvProblem,
    algorithm: object = "auto",
    threads: int | None = None,
    params: Params | None = None,
    backend: Backend = CPU,
    effort: str | None = None,
) -> Plan:
    """The plan for ``problem``; a repeated question is answered from memory.

    ``effort`` is one of ``_config.TUNING``, if not what holds here and now.
    """
    effort = effort or _config.get_tuning()
    count = backend.parallelism(_config.thread_count(threads))
    if params is not None:
        return _make_plan(problem, algorithm, count, params, backend, effort)
    if not isinstance(algorithm, str):
        raise bad_value("algorithm", algorithm, ", ".join(["auto", *algorithm_names(backend)]))
    settings = _config.get_deterministic(), _config.get_workspace_limit(), effort
    key = (problem, algorithm, count, *settings, backend.name, backend.level(), backend.current_device())
    with _lock:
        found = _plans.get(key)
        if found is not None:
            _plans.move_to_end(key)
            return found
    made = _make_plan(problem, algorithm, count, None, backend, effort)
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


def candidates(
    problem: ConvProblem,
    threads: int,
    all_params: bool = False,
    backend: Backend = CPU,
    constants: Machine | None = None,
) -> list[tuple[Algorithm, Params, float]]:
    """Every algorithm that accepts the problem within its precision and the workspace limit, cheapest first.

    With its default parameters, or with ``all_params`` once per set of parameters. An empty problem is no algorithm's.
    ``constants`` are those of the cost models, if not what ``machine`` says.
    """
    if problem.is_empty:
        return [(backend.algorithms[-1], {}, 0.0)]
    constants = constants or machine(backend)
    found = [
        entry
        for algorithm in backend.algorithms
        for entry in _estimates(algorithm, problem, threads, all_params, backend, constants)
    ]
    found.sort(key=lambda entry: entry[2])
    return found


def _estimates(
    algorithm: Algorithm,
    problem: ConvProblem,
    threads: int,
    all_params: bool,
    backend: Backend,
    constants: Machine,
) -> list[tuple[Algorithm, Params, float]]:
    """The algorithm with its parameters and their estimates; none where it may not compute the problem."""
    target, limit = backend.target(algorithm, problem), _config.get_workspace_limit()
    if target is None or not algorithm.supports(target) or not admitted(algorithm, problem):
        return []
    if not backend.is_usable(algorithm):
        return []
    fitting = algorithm.fitting(target, limit)
    if fitting is None:
        return []
    casts = backend.lowering_seconds(problem, target, threads, constants)
    others = [params for params in algorithm.parameters(target) if params != fitting] if all_params else []
    return [
        (algorithm, params, casts + algorithm.cost(target, params, threads, constants))
        for params in [fitting, *others]
        if params is fitting or algorithm.workspace(target, params, 1) <= limit
    ]


def _contenders(
    problem: ConvProblem, threads: int, backend: Backend, constants: Machine, margin: float = 1.0
) -> list[tuple[Algorithm, Params, float]]:
    """The cheapest proven algorithm first, then others that were estimated to find it: those whose bound is lower than
    its estimate, times ``margin``."""
    if problem.is_empty:
        return [(backend.algorithms[-1], {}, 0.0)]
    bounded = []
    for algorithm in backend.algorithms:
        target = backend.target(algorithm, problem) if algorithm.is_proven else None
        if target is not None:
            bounded.append((algorithm.least_seconds(target, threads, constants), algorithm))
    bounded.sort(key=lambda entry: entry[0])
    found: list[tuple[Algorithm, Params, float]] = []
    least = math.inf
    for bound, algorithm in bounded:
        if bound > least * margin:
            break
        found += _estimates(algorithm, problem, threads, False, backend, constants)
        least = min([least, *(seconds for _, _, seconds in found)])
    found.sort(key=lambda entry: entry[2])
    return found


def usable_params(name: str, params: Params, problem: ConvProblem, backend: Backend = CPU) -> Choice | None:
    """The algorithm called ``name`` and its parameters, if they may compute the problem here and now; None otherwise.

    For choices that come from a file: name and parameters may be anything.
    """
    found = _able_params(name, params, problem, backend)
    if found is None or not admitted(found[0], problem) or not backend.is_usable(found[0]):
        return None
    fits = backend.workspace_bytes(found[0], problem, found[1], 1) <= _config.get_workspace_limit()
    return found if fits else None


def _able_params(name: str, params: Params, problem: ConvProblem, backend: Backend) -> Choice | None:
    """The algorithm called ``name`` and its parameters, if they can compute the problem on this machine."""
    try:
        algorithm = find_algorithm(late("fastconv._choose.tuning_record").current_name(name, backend.name), backend)
    except KeyError:
        return None
    current = late("fastconv._choose.tuning_record").current_params(name, params, backend.name)
    target = backend.target(algorithm, problem)
    if target is None or problem.is_empty or not algorithm.supports(target):
        return None
    able = [*algorithm.parameters(target), algorithm.packed_params(target)]
    return next(((algorithm, known) for known in able if known is not None and dict(known) == current), None)


def carried_plan(
    problem: ConvProblem,
    name: str,
    params: Params,
    threads: int,
    reason: str,
    considered: Sequence[tuple[str, float]],
    backend_name: str = "cpu",
) -> Plan:
    """The plan of a choice made by another process, perhaps of another machine or version; a new one if need be."""
    is_forced, backend = reason == "forced", find_backend(backend_name)
    choice = (_able_params if is_forced else usable_params)(name, params, problem, backend)
    if choice is not None:
        return bind(problem, *choice, threads, reason, considered, backend)
    if is_forced:
        with contextlib.suppress(ValueError):
            return plan_for(problem, name, threads, backend=backend)
    return plan_for(problem, "auto", threads, backend=backend)


def tuned_record(problem: ConvProblem, threads: int, backend: Backend = CPU) -> TuningRecord | None:
    """The stored measurements that ``problem`` goes by: its own, or those of the same problem without its epilogue."""
    return _record_in(_stored(backend), problem, threads)


def _record_in(content: Content, problem: ConvProblem, threads: int) -> TuningRecord | None:
    found = content.find(problem, threads)
    return content.find(problem.replace(epilogue=Epilogue()), threads) if found is None and problem.epilogue else found


def _make_plan(
    problem: ConvProblem, algorithm: object, threads: int, params: Params | None, backend: Backend, effort: str
) -> Plan:
    if algorithm == "auto":
        return _choose(problem, threads, backend, effort)
    try:
        forced = find_algorithm(algorithm, backend)
    except KeyError:
        raise bad_value("algorithm", algorithm, ", ".join(["auto", *algorithm_names(backend)])) from None
    if not backend.accepts(forced, problem):
        able = [name.name for name in backend.algorithms if backend.accepts(name, problem)]
        raise bad_value("algorithm", algorithm, f"one that supports {problem}: {', '.join(able)}")
    if params is None:
        target = backend.target(forced, problem)
        assert target is not None
        params = {} if problem.is_empty else _params_of_forced(forced, target)
    return bind(problem, forced, params, threads, "forced", backend=backend)


def _params_of_forced(algorithm: Algorithm, target: ConvProblem) -> Params:
    """The parameters that keep the workspace limit; where none do, those that need least: it was asked for."""
    fitting = algorithm.fitting(target, _config.get_workspace_limit())
    if fitting is not None:
        return fitting
    return min(algorithm.parameters(target), key=lambda params: algorithm.workspace(target, params, 1))


def _choose(problem: ConvProblem, threads: int, backend: Backend, effort: str) -> Plan:
    if _config.get_deterministic() or problem.is_empty:
        return estimated_plan(problem, threads, backend)
    if effort in ("measure", "exhaustive"):
        late("fastconv._choose.first_sight").tune_unless_known(problem, threads, effort, backend)
    content = _stored(backend)
    record = _record_in(content, problem, threads)
    if record is not None:
        choice = usable_params(record.algorithm, record.params, problem, backend)
        if choice is not None:
            times = [(t.label(), t.seconds) for t in record.timings if t.seconds is not None]
            return bind(problem, *choice, threads, "tuned", times, backend)
    if effort == "pinned":
        raise no_choice(problem, threads, backend.name, record is not None)
    bundled: Choice | None = late("fastconv._choose.bundled").choice(problem, threads, backend)
    if bundled is not None:
        return bind(problem, *bundled, threads, "bundled table", (), backend)
    return estimated_plan(problem, threads, backend, backend.machine_here(content.machine))


def estimated_plan(
    problem: ConvProblem, threads: int, backend: Backend = CPU, constants: Machine | None = None
) -> Plan:
    """The plan of the cost model, of a machine with these constants."""
    of_threads = 1 if _config.get_deterministic() else threads
    constants = constants or machine(backend)
    is_there = backend.missing() is None  # where it is not, a choice is explained, not shared
    shared = _choice_of_alike(problem, of_threads, backend, constants) if is_there else None
    if shared is not None:
        algorithm, params, considered = shared
        return bind(problem, algorithm, params, threads, "cost model", considered, backend)
    ranked = _contenders(problem, of_threads, backend, constants)
    best, params, _ = ranked[0]
    considered = [(algorithm.name, seconds) for algorithm, _, seconds in ranked]
    return bind(problem, best, params, threads, "cost model", considered, backend)


def _choice_of_alike(
    problem: ConvProblem, threads: int, backend: Backend, constants: Machine
) -> tuple[Algorithm, Params, Sequence[tuple[str, float]]] | None:
    """What is chosen for all problems like this one, if it may compute this one too, and what was considered."""

    def estimates(like: ConvProblem, margin: float) -> list[tuple[Algorithm, Params, float]]:
        return _contenders(like, threads, backend, constants, margin)

    limit = _config.get_workspace_limit()
    situation = threads, constants, limit, backend.name, backend.level(), backend.current_device()
    found = alike.choice(problem, situation, estimates)
    if found is None or found.algorithm is None:
        return None
    algorithm, target = found.algorithm, backend.target(found.algorithm, problem)
    if target is None or not algorithm.supports(target) or not admitted(algorithm, problem):
        return None
    params = algorithm.fitting_like(target, found.params, limit)
    if params is None or not backend.is_usable(algorithm):
        return None
    return algorithm, params, found.considered


def packed_plan(plan: Plan) -> Plan:
    """The plan for weights that are packed once: another algorithm or other parameters may be better then, unless the
    choice was measured."""
    if plan.reason not in ("cost model", "forced") or plan.problem.is_empty:
        return plan
    backend, constants = find_backend(plan.backend), machine(find_backend(plan.backend))
    found: list[tuple[float, Algorithm, Params]] = []
    for name in (plan.algorithm.name, *(name for name, _ in plan.candidates if name != plan.algorithm.name)):
        algorithm = find_algorithm(name, backend)
        params = _packed_params(plan, algorithm, backend)
        target = backend.target(algorithm, plan.problem)
        if params is not None and target is not None:
            casts = backend.lowering_seconds(plan.problem, target, plan.threads, constants)
            found.append((casts + algorithm.packed_cost(target, params, plan.threads, constants), algorithm, params))
    if not found:
        return plan
    _, algorithm, params = min(found, key=lambda each: each[0])
    considered = [(each.name, seconds) for seconds, each, _ in sorted(found, key=lambda each: each[0])]
    return bind(plan.problem, algorithm, params, plan.threads, plan.reason, considered, backend)


def _packed_params(plan: Plan, algorithm: Algorithm, backend: Backend) -> Params | None:
    """Those for packed weights; None where there are none that keep the workspace limit."""
    target, limit = backend.target(algorithm, plan.problem), _config.get_workspace_limit()
    if target is None:
        return None
    params = algorithm.packed_params(target)
    if params is not None and backend.workspace_bytes(algorithm, target, params, 1) <= limit:
        return params
    return plan.params if algorithm is plan.algorithm else algorithm.fitting(target, limit)


def bind(
    problem: ConvProblem,
    algorithm: Algorithm,
    params: Params,
    threads: int,
    reason: str,
    considered: Sequence[tuple[str, float]] = (),
    backend: Backend = CPU,
) -> Plan:
    """The plan of a choice, on fewer threads where the problem is too small to gain from more, or where scratch memory
    for so many would exceed the limit."""
    threads = max(1, min(threads, problem.multiply_adds // MULTIPLY_ADDS_PER_THREAD))
    limit, size = _config.get_workspace_limit(), backend.workspace_bytes(algorithm, problem, params, threads)
    while threads > 1 and size > limit:
        threads -= 1
        size = backend.workspace_bytes(algorithm, problem, params, threads)
    lowered = backend.target(algorithm, problem)
    return Plan(problem, algorithm, params, threads, size, reason, limit, tuple(considered), lowered, backend.name)
