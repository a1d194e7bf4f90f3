"""The subcommand ``compat``."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any


def add_to(subparsers: Any) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("compat", help="adapters beside their libraries", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument(
        "--json", metavar="FILE", help="write what was measured to a file; what it has of other threads stays"
    )
    parser.add_argument(
        "--of", choices=["frameworks", "pytorch", "signals"], default="pytorch", help="(default: pytorch)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a line for each row."""
    client = importlib.import_module(f".{arguments.of}", __package__)
    file = None if arguments.json is None else Path(arguments.json)
    known = json.loads(file.read_text())["compat"] if file is not None and file.exists() else []
    rows = [row for row in known if row["threads"] not in arguments.threads]
    for threads in arguments.threads:
        for row in client.rows(threads):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if file is not None:
                file.write_text(json.dumps({"compat": rows}, indent=1) + "\n")
    return 0
