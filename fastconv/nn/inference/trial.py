"""Trial: the operators of a network timed where they are used, with the caches as they are then."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from .graph import Graph, Node
from .operators import PLANNED, planned

CANDIDATES = 3
"""Algorithms that are tried of every convolution, channels first and last."""
WORST = 3.0
"""Those are left out whose estimate is so many times that of the best."""
CALLS = 7
SECONDS = 6.0
"""For the calls of one trial; at least three are made."""

Make = Callable[[Graph, int, str, dict[int, str]], Any]
Costs = dict[int, tuple[float, float]]


def measured(graph: Graph, threads: int, make: Make) -> tuple[Costs, dict[tuple[int, bool], str]]:
    """By node: seconds with channels first and last; by node and that, the algorithm that takes them.

    Parameters
    ----------
    graph : Graph
    threads : int
    make : callable
        ``make(graph, threads, layout, algorithms)`` compiles a graph, whose nodes it may add to.
    """
    best: dict[tuple[int, bool], tuple[float, str]] = {}
    for is_last in (False, True):
        candidates = {
            number: _candidates(node, is_last, threads)
            for number, node in enumerate(graph.nodes)
            if node.operator in PLANNED
        }
        for rank in range(CANDIDATES):
            copy = graph.copy()
            nodes = list(copy.nodes)
            names = {number: names[min(rank, len(names) - 1)] for number, names in candidates.items()}
            if rank and not any(len(each) > rank for each in candidates.values()):
                break
            layout = "channels_last" if is_last else "channels_first"
            compiled = make(copy, threads, layout, {id(nodes[number]): name for number, name in names.items()})
            seconds = _timed(compiled)
            for number, (node, original) in enumerate(zip(nodes, graph.nodes, strict=True)):
                found = seconds.get(id(node))
                key = id(original), is_last
                if found is not None and (key not in best or found < best[key][0]):
                    best[key] = found, names.get(number, "")
    costs = {
        id(node): (best[id(node), False][0], best[id(node), True][0])
        for node in graph.nodes
        if (id(node), False) in best and (id(node), True) in best
    }
    return costs, {key: name for key, (_, name) in best.items() if name}


def _candidates(node: Node, is_last: bool, threads: int) -> list[str]:
    """The names of algorithms that are worth a trial, the best first."""
    choice = planned(node, is_last, threads, None).choice
    found = [name for name, seconds in choice.candidates if seconds <= WORST * choice.candidates[0][1]]
    names = [choice.algorithm.name, *(name for name in found if name != choice.algorithm.name)]
    return names[:CANDIDATES]


def _timed(compiled: Any) -> dict[int, float]:
    """Seconds that every node takes, in the middle of calls of the whole network."""
    arena = compiled._idle[0]
    x = np.random.default_rng(0).standard_normal(compiled.input_shape, np.float32).astype(compiled.dtype)
    arena.slots[arena.input], arena.slots[arena.output] = x, np.empty(compiled.output_shape, compiled._result_dtype)
    rounds: list[list[float]] = []
    end = time.perf_counter() + SECONDS
    while len(rounds) < CALLS and (len(rounds) < 3 or time.perf_counter() < end):
        taken = []
        for step in arena.steps:
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
        rounds.append(taken)
    middle = map(median, zip(*rounds[1:], strict=True))
    return {id(node): seconds for node, seconds in zip(arena.nodes, middle, strict=True)}
