"""The subcommand ``networks``."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(subparsers: Any) -> None:
    """The subcommand's options."""
    from . import inference, training

    parser = subparsers.add_parser("networks", help="whole networks, beside other engines", description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="as resnet18; names of fastconv.nn.networks")
    parser.add_argument("--training", action="store_true", help="a training step, beside torch's eager mode")
    parser.add_argument("--batch", type=int, nargs="+", help="images (default: 1 8; in training, 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--json", metavar="FILE", help="write what was measured to a file")
    training.add_options(parser)
    inference.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure."""
    from . import inference, training

    if not arguments.training:
        return inference.run(arguments.networks, arguments.batch or [1, 8], arguments.threads, arguments)
    for count in arguments.batch or [8]:
        training.run(arguments.networks, arguments.threads, count, arguments)
    return 0
