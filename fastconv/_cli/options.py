"""Options that several subcommands share."""

from __future__ import annotations

import argparse

from .. import _config, suites
from .._backend import BACKENDS, CPU, Backend, find_backend
from .._choose import tuning_cache
from .._normalize.tuning import PROBLEM_EXAMPLE, Job, jobs
from .._problem import DTYPES, LAYOUTS
from ..suites.layers import PASSES


def add_problems(parser: argparse.ArgumentParser, count: str = "+") -> None:
    """Problems and suites, and what changes them."""
    parser.add_argument(
        "problems",
        nargs=count,
        metavar="SUITE|PROBLEM",
        help=f"a suite ({', '.join(suites.NAMES)}) or the text of a problem, in quotes: direction, input, "
        f"weight and settings, as in {PROBLEM_EXAMPLE!r}",
    )
    parser.add_argument(
        "--passes", metavar="PASS[,PASS]", help=f"passes of each layer, of {', '.join(PASSES)} (default: forward)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="batch size (default: that of the problem, 1 in suites)")
    parser.add_argument("--dtype", choices=DTYPES, help="dtype (default: that of the problem, float32 in suites)")
    parser.add_argument("--layout", choices=LAYOUTS, help="layout (default: that of the problem, channels_first)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Number of threads."""
    parser.add_argument(
        "--threads", type=int, metavar="N", help=f"threads (default: {_config.get_num_threads()}, as for every call)"
    )


def add_backend(parser: argparse.ArgumentParser, default: str = CPU.name) -> None:
    """What computes."""
    text = "what computes: cpu, or gpu, the current CUDA device by CuPy (default: cpu)"
    parser.add_argument("--backend", choices=BACKENDS, default=default, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """A file for what was found."""
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; -: to standard output, and only that")


def backend_of(arguments: argparse.Namespace) -> Backend:
    """The backend that ``add_backend`` asks for."""
    return find_backend(arguments.backend)


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """The jobs that the options of ``add_problems`` ask for."""
    a = arguments
    return jobs(a.problems, a.passes, a.batch, a.dtype, a.layout)


def saved_status(backend: Backend) -> int:
    """Exit status of what changes the stored choices: 1 where they could not be written, which was warned of."""
    return 0 if tuning_cache.current(backend).is_saved else 1


def threads_of(arguments: argparse.Namespace) -> int:
    """The number of threads that ``add_threads`` asks for, as far as the backend has any."""
    return backend_of(arguments).parallelism(_config.thread_count(arguments.threads))
