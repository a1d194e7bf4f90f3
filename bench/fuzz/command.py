"""``python -m bench fuzz``: random problems over the whole public surface, compared with their definition.

Each finding is printed as soon as it is there, shrunk to a line that repeats it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os

from fastconv._backend import BACKENDS

from . import device
from .campaign import Campaign, fuzz
from .case import Case
from .workers import Worker, ask_all, environment


def seed_of_the_day() -> int:
    """A seed that changes every day: the date in digits."""
    return int(datetime.date.today().strftime("%Y%m%d"))


def replay(text: str, isa: str | None = None) -> int:
    """Check a case, or several one after the other, and print what is wrong; status 1 where something is."""
    given = json.loads(text)
    cases = [Case.parse(json.dumps(one)) for one in (given if isinstance(given, list) else [given])]
    worker = Worker(environment(isa))
    answer = ask_all(worker, cases)
    worker.close()
    for failure in answer.failures:
        print(failure)
    print(f"{len(answer.failures)} failures, {answer.counts['calls']} calls")
    return 1 if answer.failures else 0


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("fuzz", help="random problems against their definition", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, metavar="N", help="how long")
    length.add_argument("--minutes", type=float, default=3.0, metavar="N", help="how long (default 3)")
    parser.add_argument("--seed", type=int, metavar="S", help="default: the date of today in digits")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes side by side (default 1)")
    parser.add_argument("--isa", metavar="LEVEL", help="hold the library to an ISA level, as FASTCONV_MAX_ISA does")
    parser.add_argument("--backend", choices=BACKENDS, default="cpu", help="what computes; gpu: CuPy, or its stand-in")
    parser.add_argument("--functions", default="", metavar="F[,F]", help="these only: conv2d, grad.conv*d_input, ...")
    parser.add_argument("--replay", metavar="JSON", help="check this case, or list of cases, alone")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand; status 1 where something was found."""
    os.environ[device.VARIABLE] = arguments.backend
    if arguments.replay is not None:
        return replay(arguments.replay, arguments.isa)
    campaign = Campaign(
        seed=seed_of_the_day() if arguments.seed is None else arguments.seed,
        seconds=arguments.minutes * 60 if arguments.hours is None else arguments.hours * 3600,
        jobs=arguments.jobs,
        functions=[word for word in arguments.functions.split(",") if word],
        isa=arguments.isa,
    )
    print(f"seed {campaign.seed}", flush=True)
    report = fuzz(campaign, lambda text: print(text, flush=True))
    print(report)
    return 1 if report.findings else 0
