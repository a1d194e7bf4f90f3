"""Keras, HIPS autograd and ONNX's evaluator: ratios of their time to that of the adapters for them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastconv
from fastconv._cpu import fingerprint

from .. import timing
from .case import Case

SECONDS = 0.5
"""Of each case."""
SAME = 1e-3
"""Results that differ by more, relative to the largest, are of two problems."""


CLIENTS = ("keras", "autograd", "onnx")
"""Modules here, each with ``cases()``."""


def rows(threads: int) -> Iterator[dict[str, Any]]:
    """One row for each case of each client that is installed; the others take the threads that the system gives."""
    isa = fingerprint.fingerprint()["isa"]
    with fastconv.num_threads(threads):
        for client in CLIENTS:
            try:
                cases: list[Case] = importlib.import_module(f"{__package__}.{client}").cases()
            except ImportError as missing:
                print(f"{client}: not measured, {missing}")
                continue
            for each in cases:
                told = {"client": client, "problem": each.name, "threads": threads, "isa": isa}
                yield {**told, "ratio": ratio(each, threads)}


def ratio(case: Case, threads: int) -> float:
    """Above 1, ours is faster; to three digits. ValueError where the results differ."""
    found, expected = case.ours(), case.peers()
    if not np.allclose(found, expected, rtol=0, atol=SAME * float(np.abs(expected).max())):
        raise ValueError(f"{case.name}: the results differ")
    ours, peers = (timing.Entrant(call) for call in (case.ours, case.peers))
    timing.contest([ours, peers], SECONDS, timing.settling(threads))
    return float(f"{timing.ratio(peers, ours):.3g}")
