"""The subcommand ``networks``."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(subparsers: Any) -> None:
    """The subcommand's options."""
    from . import training

    parser = subparsers.add_parser("networks", help="whole networks, beside other engines", description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="as resnet18; names of fastconv.nn.networks")
    parser.add_argument("--training", action="store_true", help="a training step, beside torch's eager mode")
    parser.add_argument("--batch", type=int, default=8, help="images (default: 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--json", metavar="FILE", help="write what was measured to a file")
    training.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure."""
    from . import training

    if not arguments.training:
        raise ValueError("networks: got no --training; allowed: --training")
    return training.run(arguments.networks, arguments.threads, arguments.batch, arguments)
