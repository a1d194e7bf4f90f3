"""Ctrl-C in a long call: KeyboardInterrupt within half a second, and the next call is right."""

from __future__ import annotations

import json

import pytest

from operands import ALGORITHMS
from subprocesses import output_of

LATENCY_SECONDS = 0.5
TRIES = 3
"""A busy machine is late now and then, a call that does not look for signals each time."""

# Forward and backward_input write a result with as many images as the input, hence few channels on that side.
PROBLEMS = (
    "forward 1x64x48x48 3x64x5x5 p2",
    "forward 1x16x48x48 16x1x31x31 p15 g16",
    "forward 1x2x20000 2x2x999",
    "forward 1x16x48x48 16x1x31x31 p15 g16 channels_last",
    "backward_input 1x16x48x48 16x1x31x31 p15 g16 channels_last",
    "backward_weight 1x16x48x48 16x1x31x31 p15 g16 channels_last",
    "forward 1x64x24x24 64x32x7x7 p3 g2 channels_last",
    "backward_weight 1x64x24x24 64x32x7x7 p3 g2 channels_last",
    "backward_input 1x3x48x48 64x3x5x5 p2",
    "backward_weight 1x32x48x48 32x32x5x5 p2",
    "backward_weight 1x16x48x48 16x1x7x7 p3 g16",
    "backward_weight 1x16x48x48 16x1x5x5 s2 p2 g16",
)

CODE = """
import json, os, signal, sys, threading, time
import numpy as np
from fastconv import ConvProblem
from operands import RESULT, accepted, check_exact, compute, shapes

def operands(problem):
    # One image repeated: a long computation on little memory.
    made = {}
    for role, shape in shapes(problem).items():
        if role != RESULT[problem.direction]:
            image = np.ones(shape if role == "weight" else (1, *shape[1:]), np.float32)
            made[role] = np.broadcast_to(image, shape)
    return made

def seconds(problem):
    arrays = operands(problem)
    start = time.perf_counter()
    compute(problem, algorithm, arrays, 2)
    return time.perf_counter() - start

def long_enough(problem):
    # As many images as make the call take 20 seconds, were it left to run, and a result of 256 MB or less.
    first = seconds(problem)
    few = problem.replace(batch=1 if first > 0.2 else 8)
    most = 2**28 // (4 * int(np.prod(shapes(problem)[RESULT[problem.direction]])))
    wanted = int(20 * few.batch / (first if first > 0.2 else seconds(few))) + 1
    return problem.replace(batch=wanted if problem.direction == "backward_weight" else min(wanted, most))

def interrupted(problem, arrays, result, delay):
    # Seconds from the signal to the exception, at most those in which this process had a core, since others may have
    # them all; None where the call ended before.
    sent = spent = 0.0
    def interrupt():
        nonlocal sent, spent
        sent, spent = time.perf_counter(), time.process_time()
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(delay, interrupt)
    latency, computing = None, False
    try:
        timer.start()
        computing = True
        compute(problem, algorithm, arrays, 2, result)
        computing = False
        timer.join()  # a signal that comes late
    except KeyboardInterrupt:
        if computing:
            latency = min(time.perf_counter() - sent, time.process_time() - spent)
    timer.join()
    return latency

latencies = {}
for text in PROBLEMS:
    problem = ConvProblem.parse(text)
    if algorithm not in accepted(problem):
        continue
    problem = long_enough(problem)
    arrays = operands(problem)
    result = np.zeros(shapes(problem)[RESULT[problem.direction]], np.float32)
    small = ConvProblem.parse(problem.direction + " 2x4x9x9 4x4x3x3 p1")
    latencies[text] = []
    for delay in delays:
        found = []
        while len(found) < TRIES and min(found, default=LATENCY_SECONDS) >= LATENCY_SECONDS:
            latency = interrupted(problem, arrays, result, delay)
            if latency is None:  # it ended before
                break
            found.append(latency)
        latencies[text] += [min(found)] if found else []
        if max(latencies[text], default=0) >= LATENCY_SECONDS:
            break
        if algorithm in accepted(small):
            check_exact(small, algorithm, 2)
    if max(latencies[text], default=0) >= LATENCY_SECONDS:
        break
print(json.dumps(latencies))
"""


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)], ids=["short", "full"])
@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_control_c(algorithm: str, is_full: bool) -> None:
    """In full: at two moments of each call."""
    settings = f"algorithm, delays = {algorithm!r}, {(0.2, 0.45) if is_full else (0.15,)}\n"
    settings += f"PROBLEMS, LATENCY_SECONDS, TRIES = {PROBLEMS!r}, {LATENCY_SECONDS}, {TRIES}\n"
    latencies = json.loads(output_of(settings + CODE, timeout=300))
    late = {text: found for text, found in latencies.items() if max(found, default=0) >= LATENCY_SECONDS}
    assert not late
    assert sum(map(len, latencies.values())) >= (4 if is_full else 2), f"few calls were long enough: {latencies}"
