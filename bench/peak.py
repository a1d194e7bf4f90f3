"""``python -m bench peak``: per cent of the multiply-add peak that implicit GEMM reaches on dense 3x3 layers.

Every ISA level that this machine runs is measured in a process of its own, one thread. The peak (independent chains of
multiply-adds in registers) and the layers are timed in turn, so that a change of clock speed meets them all; figures
are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from fastconv._cpu.engine import runtime
from fastconv.suites.layers import PASSES

from .case import Case
from .layers import layers
from .peers.fastconv import Fastconv

ROUNDS = 15
LAYERS = (
    "forward 1x128x56x56 128x128x3x3 p1",
    "forward 8x128x28x28 128x128x3x3 p1",
    "forward 8x256x14x14 256x256x3x3 p1",
)


def measure() -> None:
    """Print the table of the ISA level that FASTCONV_MAX_ISA leaves in force."""
    for dtype in ("float32", "float64"):
        problems = [layer.problem for layer in layers(list(LAYERS), list(PASSES), dtype=dtype)]
        calls = [Fastconv("implicit_gemm").prepare(Case.of(problem, 1)).run for problem in problems]
        shares: list[list[float]] = [[] for _ in calls]
        for _ in range(ROUNDS):
            for share, call, problem in zip(shares, calls, problems, strict=True):
                peak = runtime.multiply_add_rate(dtype, 2)
                start = time.perf_counter()
                call()
                share.append(problem.multiply_adds / (time.perf_counter() - start) / peak)
        for share, problem in zip(shares, problems, strict=True):
            print(f"{runtime.isa():10s} {statistics.median(share):4.0%}  {problem}", flush=True)


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("peak", help="measure the share of the multiply-add peak", description=__doc__)
    parser.add_argument("--level", action="store_true", help="the ISA level in force only")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    if arguments.level:
        measure()
        return 0
    for name, usable in runtime.isa_levels():
        if usable:
            environment = {**os.environ, "FASTCONV_MAX_ISA": name}
            subprocess.run([sys.executable, "-m", "bench", "peak", "--level"], env=environment, check=True)
        else:
            print(f"{name:10s} not run: this machine does not have it")
    return 0
