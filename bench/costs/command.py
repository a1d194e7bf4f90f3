"""``python -m bench fit``: the coefficients of the CPU's cost models, for the ISA level in use.

With ``--measure``, every algorithm is timed on realistic problems first, on one thread; what was measured before, here
or in an earlier run, is kept, so that it can be interrupted and go on. Then the coefficients are fitted, printed with
how far off they are, and written to fastconv/_cpu/cost/<level>.json. A share of the problems is left out of the fit to
judge it: regret is the time of what the estimates choose over the time of the fastest candidate.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastconv
from fastconv import ConvProblem
from fastconv._algorithm import Machine
from fastconv._choose.calibration import measure_machine
from fastconv._cpu.cost import model
from fastconv._cpu.engine import runtime

from ..regret import percentile
from . import fit, table
from .measure import all_measured
from .realistic import long_kernels, rare, realistic
from .table import Measured

SEED, COUNT, LONG_SHARE, RARE_SHARE = 1, 2220, 0.12, 0.27
"""The realistic problems that are fitted to, how many more have long kernels and how many are of rare shapes."""
JUDGED = 8
"""Every so many problems one is left out of the fit."""
MAX_SECONDS = 3000.0
COEFFICIENTS = Path(model.__file__).parent


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("fit", help="fit the cost models", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="time what has not been timed yet")
    parser.add_argument(
        "--seconds", type=float, default=MAX_SECONDS, help="to measure for at most; default: %(default)g"
    )
    parser.add_argument("--count", type=int, default=COUNT, help="problems to measure; default: %(default)s")
    parser.add_argument("--all", action="store_true", help="leave no problem out, nothing is judged")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    path = table.path_of(runtime.isa())
    if arguments.measure:
        _measure(path, arguments.count, arguments.seconds)
    rows = table.read(path)
    if not rows:
        raise ValueError(f"nothing was measured at {runtime.isa()} yet; python -m bench fit --measure")
    machine = _machine(arguments.measure)
    judged = set() if arguments.all else set(list(dict.fromkeys(row.problem for row in rows))[::JUDGED])
    fits = fit.fitted([row for row in rows if row.problem not in judged], machine)
    for (loop, direction), found in fits.items():
        print(f"{loop:30s}{direction:18s}{found.rows:6d} rows, {100 * found.deviation:5.1f} % off")
    write(runtime.isa(), machine, fits, fit.bounds(rows, machine))
    model.forget()
    if judged:
        print(regret_text(rows, judged, machine))
    return 0


def _measure(path: Path, count: int, seconds: float) -> None:
    known = {row.problem for row in table.read(path)}
    problems = (
        long_kernels(SEED, int(LONG_SHARE * count)) + rare(SEED, int(RARE_SHARE * count)) + realistic(SEED, count)
    )
    missing = [problem for problem in problems if problem not in known]
    for number, rows in enumerate(all_measured(missing, 1, seconds), 1):
        table.append(path, rows)
        print(f"\r{number} of {len(missing)} problems", end="", flush=True)
    print()
    table.pack(path)


def _machine(is_measured: bool) -> Machine:
    """The constants of this machine, measured now, or those of an earlier fit."""
    return measure_machine() if is_measured or not model.level() else model.machine()


def write(
    level: str, machine: Machine, fits: Mapping[fit.Loop, fit.Fit], bounds: Mapping[fit.Loop, fit.Coefficients]
) -> None:
    """The file that the library reads, a line for each loop and direction."""
    constants = {
        "multiply_adds_per_second": dict(machine.multiply_adds_per_second),
        "bytes_per_second": machine.bytes_per_second,
        "call_seconds": machine.call_seconds,
        "numpy_call_seconds": machine.numpy_call_seconds,
    }
    loops = {loop: one.coefficients for loop, one in fits.items()}
    text = (
        f'{{"version": {json.dumps(fastconv.__version__)},\n"machine": {json.dumps(constants)},\n'
        f'"loops": {_lines(loops)},\n"bounds": {_lines(bounds)}}}\n'
    )
    json.loads(text)
    (COEFFICIENTS / f"{level}.json").write_text(text)


def _lines(found: Mapping[fit.Loop, fit.Coefficients]) -> str:
    by_name: dict[str, list[str]] = defaultdict(list)
    for (name, direction), coefficients in found.items():
        by_name[name].append(f"  {json.dumps(direction)}: {json.dumps(coefficients)}")
    return "{\n" + ",\n".join(f" {json.dumps(n)}: {{\n" + ",\n".join(ls) + "}" for n, ls in by_name.items()) + "}"


def regret_text(rows: Sequence[Measured], judged: Iterable[ConvProblem], machine: Machine) -> str:
    """The regret of the lowest estimate among what was measured."""
    by_problem: dict[ConvProblem, list[Measured]] = defaultdict(list)
    for row in rows:
        by_problem[row.problem].append(row)
    regrets = [_regret(by_problem[problem], machine) for problem in judged]
    figures: dict[str, Any] = {
        "median": statistics.median(regrets),
        "95th percentile": percentile(regrets, 0.95),
        "maximum": max(regrets),
    }
    return f"regret on {len(regrets)} other problems: " + ", ".join(f"{k} {v:.2f}" for k, v in figures.items())


def _regret(rows: Sequence[Measured], machine: Machine) -> float:
    chosen = min(rows, key=lambda row: fit.algorithm_of(row).cost(row.problem, row.params, 1, machine))
    return chosen.seconds / min(row.seconds for row in rows)
