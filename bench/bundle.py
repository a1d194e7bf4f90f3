"""``python -m bench bundle``: the table of measured choices that comes with the library.

Takes files that ``fastconv cache export`` wrote, after ``fastconv autotune`` of the suites on quiet machines, and puts
the choices for layers of the suites, in any batch and pass, into ``fastconv/_choose/bundled``: a file for each backend
and level of instructions, in the place of the one that is there. Only choices that gain something over the cost
model's: the others need no table. Of two choices for one problem the one measured later stays. Files of one level are
of one kind of machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastconv import suites
from fastconv._choose import bundled
from fastconv._choose.tuning_cache import Content
from fastconv._choose.tuning_record import TuningRecord
from fastconv._cli.tuning_table import model_of
from fastconv._normalize.tuning import tuning_file
from fastconv._problem import ConvProblem
from fastconv.suites.layers import PASSES, problem_of_pass

LEAST_GAIN = 1.05
"""How many times as fast as the cost model's choice is worth a line."""
LEVEL_FIELDS = {"isa": "cpu", "architecture": "gpu"}
"""The field of a fingerprint that names the level, and whose it is."""


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("bundle", help="make the table of choices that is shipped", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="file", help="written by fastconv cache export")
    parser.add_argument("--folder", type=Path, default=bundled.FOLDER, help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    tables: dict[str, Content] = {}
    for file in arguments.files:
        content = tuning_file(file, any_machine=True)
        known = tables.setdefault(table_of(file, content), content)
        if known.fingerprint != content.fingerprint:
            raise ValueError(f"{file} is of another machine than the files before it")
        if known is not content:
            known.add(content.records())
    for name, content in tables.items():
        kept = worth_shipping(content.records())
        (arguments.folder / name).write_text(bundled.render(kept, content.fingerprint), "utf-8")
        print(f"{name}: {len(kept)} choices of {len(content.records())}")
    return 0


def table_of(file: str, content: Content) -> str:
    """Name of the table that the choices of an exported file belong to."""
    for field, backend in LEVEL_FIELDS.items():
        if field in content.fingerprint:
            return bundled.file_name(backend, content.fingerprint[field])
    raise ValueError(f"{file} does not say at which level of instructions it was measured")


def worth_shipping(records: list[TuningRecord]) -> list[TuningRecord]:
    """The measured choices for layers of the suites that the cost model does not make as well."""
    wanted = {
        _of_one_image(problem_of_pass(layer.problem, name))
        for suite in suites.NAMES
        for layer in suites.suite(suite).layers
        for name in PASSES
    }
    return [each for each in records if _gains(each) and _of_one_image(each.problem) in wanted]


def _gains(record: TuningRecord) -> bool:
    """Whether it was measured, and is not known to be as fast as the cost model's choice."""
    model = model_of(record)
    seconds = None if model is None else model.seconds
    return record.seconds is not None and (seconds is None or seconds >= LEAST_GAIN * record.seconds)


def _of_one_image(problem: ConvProblem) -> ConvProblem:
    return problem.replace(batch=1)
