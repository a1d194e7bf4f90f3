"""``fastconv cache``: look at the tuned choices, carry them between machines of a kind, drop them."""

from __future__ import annotations

import argparse

from .. import tuning
from .._choose import tuning_cache
from .._normalize.tuning import tuning_file
from . import options, output
from .table import Cell, Column, say_table
from .tuning_table import gain_cell, number, title_of_gain


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("cache", help="show, carry and drop tuned choices")
    options.add_backend(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    showing = actions.add_parser("show", help="print this machine's choices")
    showing.set_defaults(run=show)
    path = actions.add_parser("path", help="print where they are")
    path.set_defaults(run=print_path)
    clear = actions.add_parser("clear", help="drop this machine's choices, or one problem's")
    clear.add_argument("problem", nargs="?", help="text of a problem")
    clear.set_defaults(run=drop)
    export = actions.add_parser("export", help="write this machine's choices to a file")
    export.add_argument("file")
    export.set_defaults(run=write)
    importing = actions.add_parser("import", help="take over the choices of files from machines of the same kind")
    importing.add_argument("files", nargs="+", metavar="file")
    importing.set_defaults(run=take_over)
    merge = actions.add_parser("merge", help="join exported files of one kind of machine; later measurements win")
    merge.add_argument("output")
    merge.add_argument("files", nargs="+", metavar="file")
    merge.set_defaults(run=join)
    for action in (showing, path, clear, export, importing):
        options.add_backend(action, argparse.SUPPRESS)  # here, or in front of the action


COLUMNS = {
    "problem": Column("problem", least=20),
    "where": Column("on"),
    "algorithm": Column("algorithm"),
    "ms": Column("ms", is_number=True),
    "gain": Column("gain", is_number=True),
    "effort": Column("effort"),
    "time": Column("measured at"),
    "params": Column("parameters", least=10),
}
LAYOUTS = (
    tuple(COLUMNS),
    ("problem", "where", "algorithm", "ms", "gain", "effort"),
    ("problem", "algorithm", "ms", "gain"),
    ("problem", "algorithm"),
)


def show(arguments: argparse.Namespace) -> int:
    """Print the choices."""
    backend = options.backend_of(arguments)
    rows: list[dict[str, Cell]] = []
    for record in sorted(tuning_cache.current(backend).content.records(), key=lambda record: record.key):
        rows.append(
            {
                "problem": str(record.problem),
                "where": backend.runs_on(record.threads),
                "algorithm": (record.algorithm, "bold"),
                "ms": number(record.seconds),
                "gain": gain_cell(record.baseline_seconds, record.seconds),
                "effort": record.effort,
                "time": record.measured_at,
                "params": " ".join(f"{name}={value}" for name, value in record.params.items()),
            }
        )
    if not rows:
        output.complain("no tuned choices yet; fastconv autotune measures and keeps them")
    else:
        say_table(COLUMNS | {"gain": Column(title_of_gain(backend.baseline), is_number=True)}, LAYOUTS, rows)
    return 0


def print_path(arguments: argparse.Namespace) -> int:
    """Print the file's path."""
    path = tuning_cache.current(options.backend_of(arguments)).path
    if path is None:
        raise ValueError("there is no home directory to keep choices in; set FASTCONV_CACHE_DIR")
    output.say(str(path))
    return 0


def drop(arguments: argparse.Namespace) -> int:
    """Drop choices."""
    output.say(f"dropped {_counted(tuning.forget_tuning(arguments.problem, backend=arguments.backend))}")
    return options.saved_status(options.backend_of(arguments))


def write(arguments: argparse.Namespace) -> int:
    """Export."""
    with output.writing_to(arguments.file):
        count = tuning.export_tuning(arguments.file, backend=arguments.backend)
    output.say(f"wrote {_counted(count)} to {arguments.file}")
    return 0


def take_over(arguments: argparse.Namespace) -> int:
    """Import, all files or none."""
    backend = options.backend_of(arguments)
    for file in arguments.files:
        tuning_file(file, backend=backend)
    for file in arguments.files:
        output.say(f"took over {_counted(tuning.import_tuning(file, backend=backend.name))} from {file}")
    return options.saved_status(backend)


def join(arguments: argparse.Namespace) -> int:
    """Merge files into one."""
    contents = [tuning_file(file, any_machine=True) for file in arguments.files]
    first = contents[0]
    for file, content in zip(arguments.files, contents, strict=True):
        if content.fingerprint != first.fingerprint:
            raise ValueError(f"{file} is of another machine than {arguments.files[0]}")
        first.add(content.records())
    output.write(arguments.output, tuning_cache.render(first))
    output.say(f"wrote {_counted(len(first.records()))} to {arguments.output}")
    return 0


def _counted(choices: int) -> str:
    return f"{choices} choice{'s' * (choices != 1)}"
