"""``python -m bench peers``: fastconv and every installed peer on the same problems, side by side."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import _accuracy, suites
from fastconv._choose.tune import EFFORTS
from fastconv._normalize.tuning import pass_names
from fastconv._problem import PRECISIONS

from . import machine, report
from .case import Case
from .layers import LAYOUTS, LISTS, REAL_DTYPES, Layer, layers
from .peers import OWN, PEERS, Peer
from .peers.fastconv import FastconvTuned
from .results import Results
from .timing import Entrant, contest, ratio, settling

SECONDS = 1.5
CHECKED_MULTIPLY_ADDS = 2e8
"""Work of the definition in float64 that the errors of one problem may take; it decides how many channels count."""
HOPELESS_SECONDS, HOPELESS_RATIO = 10.0, 20.0
"""A contestant whose first run is longer than both, the latter times our own, is not timed."""
WRONG = {"float32": 1e-3, "float64": 1e-10, "float16": 0.1, "bfloat16": 0.1}
"""A result with a larger error is a wrong one."""

Cell = dict[str, Any]
"""What is known of one contestant on one problem: seconds, ratio, samples, error, note; reason where it has no time."""

EPILOGUES = ("+bias", "+bias+relu")
"""Those that every contestant with epilogues computes."""


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("peers", help="compare with the installed peers", description=__doc__)
    parser.add_argument(
        "problems",
        nargs="*",
        default=["reference"],
        metavar="LIST|SUITE|PROBLEM",
        help=f"{', '.join(LISTS)}; {', '.join(suites.NAMES)}; or a text as 'forward 8x64x56x56 128x64x3x3 s2 p1'",
    )
    parser.add_argument("--passes", default="forward", type=pass_names, help="of forward,input,weight")
    parser.add_argument("--layers", type=_words, metavar="TEXT,...", help="only those with this in name or problem")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), help="of all problems (default: their own, NCHW)")
    parser.add_argument("--dtype", choices=REAL_DTYPES, help="of all problems (default: their own)")
    parser.add_argument("--precision", choices=PRECISIONS, help="of all float32 problems (default: high)")
    parser.add_argument(
        "--epilogue", choices=EPILOGUES, help="of all problems, applied by each in its best way (default: their own)"
    )
    parser.add_argument("--batch", type=int, help="of all problems (default: their own)")
    parser.add_argument("--threads", type=int, default=1, help="of every contestant (default: 1)")
    parser.add_argument("--peers", type=_words, metavar="NAME,...", help="only these of the installed ones; or none")
    parser.add_argument("--tuned", nargs="?", const="measure", choices=tuple(EFFORTS), help="add the tuner's choice")
    parser.add_argument("--stored", action="store_true", help="let fastconv use what autotune has stored")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of timing for one problem (default: {SECONDS})"
    )
    parser.add_argument("--no-errors", action="store_true", help="do not compute the results' errors")
    parser.add_argument("--json", metavar="NAME", help="add the rows to bench/results/NAME.json, or to a path with /")
    report.add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    a = arguments
    if a.epilogue and a.passes != ["forward"]:
        raise ValueError(f"--epilogue {a.epilogue}: gradients have none; allowed: --passes forward")
    wanted = layers(a.problems, a.passes, a.layers, a.dtype, a.layout, a.batch, a.precision, a.epilogue)
    peers = chosen_peers(a.peers)
    own = [peer for peer in OWN if a.tuned or not isinstance(peer, FastconvTuned)]
    FastconvTuned.effort = a.tuned or FastconvTuned.effort
    results = Results.opened(a.json, machine.facts(PEERS))
    table = report.Table([peer.name for peer in (*own, *peers)])
    print(f"{results.heading()}; threads: {a.threads}\n{table.head()}", flush=True)
    with tempfile.TemporaryDirectory() as empty:
        if not a.stored:
            os.environ["FASTCONV_CACHE_DIR"] = empty
        for layer in wanted:
            row = compare(layer, a.threads, [*own, *peers], a.seconds, not a.no_errors)
            print(table.line(row), flush=True)
            results.add(row)
            results.save()
    print(table.summary())
    report.write_outputs(arguments, table.rows)
    return 0


def chosen_peers(names: Sequence[str] | None) -> list[Peer]:
    """The installed peers, or those of them that are named; ValueError where one is none or not installed."""
    installed = [peer for peer in PEERS if peer.is_installed()]
    if names is None or list(names) == ["none"]:
        return installed if names is None else []
    known = {peer.name: peer for peer in installed}
    for name in names:
        if name not in known:
            raise ValueError(f"peer {name!r} is not installed; there are {', '.join(known) or 'none'}")
    return [known[name] for name in names]


def compare(layer: Layer, threads: int, peers: Sequence[Peer], seconds: float, errors: bool = True) -> dict[str, Any]:
    """One row: every contestant's time, its ratio to the first one's, and its error.

    A peer that fails, or computes something else, gets the reason in its cell; ArithmeticError where the first does.
    """
    case, base_name = Case.of(layer.problem, threads), peers[0].name
    cells, entrants = _warmed_up(case, peers, errors)
    if base_name not in entrants:
        raise ArithmeticError(f"{base_name} on {case.problem}: {cells[base_name]['reason']}")
    base = entrants[base_name]
    roofline = machine.measure_roofline(case.problem.dtype, threads)
    contest(list(entrants.values()), seconds, settling(threads))
    for name, entrant in entrants.items():
        cells[name] |= {"seconds": entrant.seconds, "ratio": ratio(entrant, base), "samples": entrant.rounds}
    rivals = [peer.name for peer in peers if peer.is_rival and peer.name in entrants]
    return {
        "layer": layer.name,
        "pass": layer.pass_name,
        "problem": str(case.problem),
        "threads": threads,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "best": min(rivals, key=lambda name: cells[name]["ratio"], default=None),
        "roofline": {
            "multiply_adds_per_second": roofline.multiply_adds_per_second,
            "bytes_per_second": roofline.bytes_per_second,
            "share": roofline.seconds(case.problem) / base.seconds,
        },
        "contestants": cells,
    }


def _exact_channels(case: Case) -> dict[int, np.ndarray]:
    """Exact values of some channels of the result, by their numbers."""
    exact = _accuracy.exact_channels(case.problem, case.operands, CHECKED_MULTIPLY_ADDS)
    for channel in exact:
        if case.bias is not None:
            exact[channel] = exact[channel] + case.bias[channel]
        if case.has_relu:
            exact[channel] = np.maximum(exact[channel], 0)
    return exact


class NotTimedError(Exception):
    """Why a contestant has no time."""


def _warmed_up(case: Case, peers: Sequence[Peer], errors: bool) -> tuple[dict[str, Cell], dict[str, Entrant]]:
    """What is known of every contestant after its first run, and those that are to be timed."""
    exact = _exact_channels(case) if errors else {}
    cells: dict[str, Cell] = {peer.name: {} for peer in peers}
    entrants: dict[str, Entrant] = {}
    longest_seconds = math.inf
    for peer in peers:
        cell = cells[peer.name]
        try:
            entrant = _entrant(peer, case, exact, cell)
            if entrant.first_seconds > longest_seconds:
                raise NotTimedError(f"given up: its first run took {entrant.first_seconds:.1f} s")
        except NotTimedError as reason:
            cell["reason"] = str(reason)
        except Exception as failure:  # of libraries that may do anything
            cell["reason"] = f"{type(failure).__name__}: {failure}".splitlines()[0][:200]
        else:
            entrants[peer.name] = entrant
            if len(entrants) == 1:
                longest_seconds = max(HOPELESS_SECONDS, HOPELESS_RATIO * entrant.first_seconds)
    return cells, entrants


def _entrant(peer: Peer, case: Case, exact: Mapping[int, np.ndarray], cell: Cell) -> Entrant:
    """The peer after its first run, if it computes the case rightly; NotTimedError where not."""
    reason = peer.refusal(case)
    if case.problem.epilogue and not peer.has_epilogues:
        reason = reason or "no bias or activation"
    if reason:
        raise NotTimedError(reason)
    prepared = peer.prepare(case)
    start = time.perf_counter()
    returned = prepared.run()
    first_seconds = time.perf_counter() - start
    if prepared.note:
        cell["note"] = prepared.note
    if exact and peer.is_same_problem:
        result = np.asarray(prepared.array(returned)).reshape(case.problem.result_shape)
        cell["error"] = error = _accuracy.relative_error(case.problem, result, exact)
        if not error <= WRONG[case.problem.dtype]:
            raise NotTimedError(f"wrong: error {error:.1e}")
    return Entrant(prepared.run, first_seconds)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
