"""``fastconv verify``: every algorithm against the definition, on integers and on normal data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from .._accuracy import error_ratio, integer_mismatches
from .._algorithm import Algorithm
from .._backend import CPU, Backend, algorithm_names, find_algorithm
from .._choose import tune
from .._choose.sample import integers_are_exact, on_host, sample
from .._choose.select import bind
from .._normalize.tuning import check_memory
from .._problem import DIRECTIONS, ConvProblem, Epilogue
from . import options
from .progress import Progress
from .table import Cell, Column, say_table

PROBLEMS = (
    "forward 2x5x9 7x5x3 p1 float32",
    "forward 1x16x40 24x16x5 s2 p2:1 d3 float64",
    "forward 2x3x17x19 8x3x3x3 s2 p1 float32",
    "forward 1x33x14x15 35x33x3x3 p1 float32",
    "forward 2x64x7x7 128x64x1x1 float32 channels_last",
    "forward 1x12x11x13 18x4x3x5 s2x1 p1x2 d1x2 g3 float32 channels_last DHWIO",
    "forward 2x24x12x12 24x1x5x5 p2 g24 float32",
    "forward 2x37x9x14 37x1x3x3 s2x1 p1 g37 float32 channels_last",
    "forward 2x32x9x11 32x4x3x3 p1 g8 float32 channels_last",
    "forward 1x1x65x67 1x1x31x31 p15 float32",
    "forward 1x4x20x20 6x4x7x7 p-1:2 float64 ODHWI",
    "forward 1x3x6x7x8 4x3x3x3x3 p1 float32",
    "forward 2x4x9x9 6x4x3x3 p1 complex64",
    "forward 2x6x9x9 4x6x3x3 p1 float16",
    "forward 1x8x10x10 8x8x3x3 p1 int8",
    "forward 1x6x9x9 4x6x3x3 s3 p1 float32 ieee",
)
"""Checked where no problem is given: one to three axes, every dtype kind, odd sizes, strides, groups and layouts."""


COLUMNS = {
    "algorithm": Column("algorithm"),
    "checks": Column("checks", is_number=True),
    "failures": Column("failures", is_number=True),
    "worst": Column("error/bound", is_number=True),
    "problem": Column("at worst, on", least=20),
}
LAYOUTS = (tuple(COLUMNS), ("algorithm", "checks", "failures", "worst"), ("algorithm", "checks", "failures"))


@dataclass
class Worst:
    """The worst of one algorithm over all problems."""

    ratio: float = 0.0
    problem: str = "-"
    checks: int = 0
    failures: int = 0


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("verify", help="compare every algorithm, in every direction, with the definition")
    options.add_problems(parser, "*")
    options.add_threads(parser)
    options.add_backend(parser)
    parser.add_argument("--algorithm", metavar="NAME", help="check this one only")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random data (default 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand; status 1 where something is wrong."""
    threads, seed, backend = options.threads_of(arguments), arguments.seed, options.backend_of(arguments)
    known = algorithm_names(backend)
    if arguments.algorithm is not None and arguments.algorithm not in known:
        raise ValueError(f"--algorithm: got {arguments.algorithm!r}; allowed: {', '.join(known)}")
    if seed < 0:
        raise ValueError(f"seed: got {seed}; allowed: 0 or more")
    if not arguments.problems:
        arguments.problems = list(PROBLEMS)
    jobs = options.jobs_of(arguments)
    check_memory(jobs, backend)
    problems = dict.fromkeys(
        job.problem.replace(direction=direction, epilogue=Epilogue())
        for job in jobs
        for direction in ([job.problem.direction] if arguments.passes else DIRECTIONS)
    )
    names = [arguments.algorithm] if arguments.algorithm else known
    worst = {name: Worst() for name in names}
    with Progress(len(problems)) as progress:
        for problem in problems:
            progress.show([(str(problem), "")])
            for name in names:
                with tune.naming(problem):
                    failures = list(check(find_algorithm(name, backend), problem, threads, seed, worst[name], backend))
                for failure in failures:
                    progress.say(failure)
            progress.advance()
    say_table(COLUMNS, LAYOUTS, [cells_of(name, found) for name, found in worst.items()])
    return 1 if any(found.failures for found in worst.values()) else 0


def cells_of(name: str, found: Worst) -> dict[str, Cell]:
    """The algorithm's row of the table."""
    return {
        "algorithm": (name, "bold"),
        "checks": str(found.checks),
        "failures": (str(found.failures), "bold red" if found.failures else "green"),
        "worst": f"{found.ratio:.3g}",
        "problem": (found.problem, "bright_black"),
    }


def check(
    algorithm: Algorithm, problem: ConvProblem, threads: int, seed: int, worst: Worst, backend: Backend
) -> Iterator[str]:
    """Run the algorithm on random and integer data; a line, which repeats it, for everything that is wrong."""
    target = backend.target(algorithm, problem)
    if target is None or not algorithm.supports(target) or not backend.is_usable(algorithm):
        return
    plan = bind(problem, algorithm, algorithm.parameters(target)[0], threads, "forced", backend=backend)
    repeat = f'fastconv verify "{problem}" --algorithm {algorithm.name} --seed {seed} --threads {threads}'
    repeat += "" if backend is CPU else f" --backend {backend.name}"
    operands = sample(problem, seed, backend=backend)
    if not backend.stays_inside(plan, operands):
        worst.failures += 1
        yield f"WRONG it writes beyond its {plan.workspace_bytes} bytes of scratch memory; repeat with: {repeat}"
        return
    ratio = error_ratio(algorithm, problem, on_host(operands, backend), backend=backend)
    worst.checks += 1
    if ratio > worst.ratio:
        worst.ratio, worst.problem = ratio, str(problem)
    if not ratio <= 1:
        worst.failures += 1
        yield f"WRONG error/bound {ratio:.3g}; repeat with: {repeat}"
    if not integers_are_exact(problem):
        return
    operands = sample(problem, seed, integers=True, backend=backend)
    backend.execute(plan, operands)
    mismatches = integer_mismatches(problem, on_host(operands, backend), rounded=not algorithm.exact_on_integers)
    worst.checks += 1
    if mismatches:
        worst.failures += 1
        yield f"WRONG {mismatches} elements differ from the integers they are; repeat with: {repeat}"
