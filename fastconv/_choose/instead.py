"""What computes a problem after all, where the chosen algorithm has turned out not to work, or not to fit in memory."""

from __future__ import annotations

import warnings

from .. import _config
from .._backend import find_backend
from .._errors import UnusableAlgorithmError
from .._plan import Plan
from .select import bind, candidates, forget_plans, plan_for


def next_plan(plan: Plan, failure: UnusableAlgorithmError) -> Plan:
    """The plan of the next algorithm by cost, with one warning for each algorithm and device.

    Raises
    ------
    UnusableAlgorithmError
        The failure itself, of an algorithm that the caller has asked for, or of the last one.
    """
    backend = find_backend(plan.backend)
    if plan.reason == "forced" or plan.algorithm is backend.algorithms[-1]:
        raise failure
    if backend.set_aside(plan.algorithm):
        forget_plans()
        where = backend.runs_on(plan.threads)
        text = f"fastconv: {plan.algorithm.name} is not used on {where} from now on: {failure}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return plan_for(plan.problem, "auto", plan.threads, backend=backend)


def smaller_plan(plan: Plan) -> Plan | None:
    """The plan that needs least scratch memory, to be tried where the system has refused memory; None: nothing is to be
    tried.

    The same call gives the same bits in deterministic mode, however much memory is free; a pinned one is not computed
    by what was not measured.
    """
    backend = find_backend(plan.backend)
    is_settled = plan.reason == "forced" or _config.get_deterministic() or _config.get_tuning() == "pinned"
    if is_settled or not backend.tries_smaller():
        return None
    plans = [
        bind(plan.problem, algorithm, params, 1, "cost model", (), backend)
        for algorithm, params, _ in candidates(plan.problem, 1, all_params=True, backend=backend)
    ]
    least = min(plans, key=lambda one: one.workspace_bytes)
    return least if least.workspace_bytes < plan.workspace_bytes else None
