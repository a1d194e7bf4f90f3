"""``python -m bench gpu``: fastconv on a GPU beside torch, cuBLAS and the device's ceilings.

Every result is checked before it is timed. L2 is flushed before each sample, times are CUDA events', calls under 20
microseconds are measured twenty in a graph, contestants in turn. The file is written after every row; ``--resume`` goes
on where an earlier run of the same commit on the same machine has stopped.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from fastconv import suites
from fastconv._normalize.tuning import pass_names

from ..layers import LAYOUTS
from ..layers import LISTS as LAYER_LISTS
from ..results import Results, path_of
from . import calibration, device, pooling, summary
from .arrays import Noise
from .clock import Clock
from .contestants import contestants
from .matrix import LEVELS, LISTS, works
from .rows import Bench, PoolBench

SECONDS = 0.02
"""Of the device's time for one row."""
KERNEL_ROWS = 10
"""In so many rows the names of torch's kernels are noted."""
DEAD = 3
"""Exit status where the device does nothing any more, and another process has to go on."""


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser(
        "gpu", help="measure fastconv on a GPU, beside torch and cuBLAS", description=__doc__
    )
    parser.add_argument(
        "problems",
        nargs="*",
        metavar="LIST|SUITE|PROBLEM",
        help=f"of {', '.join(LAYER_LISTS)}; {', '.join(suites.NAMES)}; pooling; or problem texts (default: all but "
        f"regret, {LISTS[0]} first)",
    )
    parser.add_argument("--passes", default="forward,input,weight", type=pass_names, help="default: all three")
    parser.add_argument("--levels", type=_words, default=list(LEVELS), help=f"default: {','.join(LEVELS)}")
    parser.add_argument("--layouts", type=_words, default=list(LAYOUTS), help=f"default: {','.join(LAYOUTS)}")
    parser.add_argument("--layers", type=_words, metavar="TEXT,...", help="only those with this in name or problem")
    parser.add_argument("--batch", type=int, help="of all problems (default: their own)")
    parser.add_argument("--bias", action="store_true", help="add one to the results of forward passes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of the device for a row (default: {SECONDS})")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop before so many (default: 9)")
    parser.add_argument("--json", metavar="NAME", help="put the rows into bench/results/NAME.json, or a path with /")
    parser.add_argument("--resume", metavar="NAME", help="the same, and leave out the rows that are there")
    parser.add_argument("--show", metavar="NAME", help="only print the summary of a file")
    parser.add_argument("--calibrate-model", action="store_true", help="measure what bench gpu-model assumes, instead")
    parser.add_argument("--emulated", action="store_true", help="run on the stand-in for CuPy; times mean nothing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    a = arguments
    if a.show:
        print("\n".join(summary.lines(Results.read(path_of(a.show)).rows)))
        return 0
    for given, allowed in ((a.levels, LEVELS), (a.layouts, LAYOUTS)):
        for word in given:
            if word not in allowed:
                raise ValueError(f"{word!r}; there are {', '.join(allowed)}")
    deadline = time.monotonic() + 60 * a.minutes
    with device.cupy(a.emulated) as cp:
        torch = None if a.emulated else device.torch_with_cuda()
        if a.calibrate_model:
            print(calibration.report(Clock(cp)))
            return 0
        words = a.problems or [*LISTS, pooling.WORD]
        of_layers = [word for word in words if word != pooling.WORD]
        wanted: list[Any] = []
        if of_layers:
            wanted += works(of_layers, a.levels, a.layouts, a.passes, a.layers, a.batch, a.bias)
        if pooling.WORD in words:
            pools = pooling.works(a.levels, a.layouts, a.passes)
            wanted += [work for work in pools if not a.layers or any(text in work.layer.name for text in a.layers)]
        results = Results.opened(a.resume or a.json, device.facts(cp, torch))
        return _measure(cp, torch, wanted, results, a, deadline)


def _measure(cp: Any, torch: Any, wanted: list[Any], results: Results, a: argparse.Namespace, deadline: float) -> int:
    known = {row["problem"] for row in results.rows} if a.resume else set()
    left = [work for work in wanted if str(work.layer.problem) not in known]
    print(f"{results.heading()}\n{len(wanted)} problems, {len(wanted) - len(left)} of them measured before", flush=True)
    if left:
        clock = Clock(cp)
        bench = Bench(clock, Noise(cp), contestants(clock, torch), a.seconds)
        of_pools = PoolBench(bench, pooling.contestants(clock, torch))
    longest = 0.0
    for number, work in enumerate(left):
        begun = time.monotonic()
        if begun + longest > deadline:
            print(f"time is up: {len(left) - number} problems are left; go on with --resume")
            break
        one = of_pools if isinstance(work, pooling.PoolWork) else bench
        row = one.row(work, kernels=number < KERNEL_ROWS)
        results.add(row)
        results.save()
        print(summary.line(row), flush=True)
        if not _lives(cp):
            print("the device reports an error that no call survives; go on with --resume in a new process")
            return DEAD
        longest = max(longest, time.monotonic() - begun)
    print("\n".join(["", *summary.lines(results.rows)]))
    return 0


def _lives(cp: Any) -> bool:
    try:
        cp.cuda.runtime.deviceSynchronize()
    except cp.cuda.runtime.CUDARuntimeError:
        return False
    return True


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
