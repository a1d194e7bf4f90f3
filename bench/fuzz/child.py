"""The process that checks: a case per line on stdin, what it led to per line on stdout.

It may crash or hang; its parent knows on which case.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from typing import Any

from .case import Case
from .check import check, raised
from .workers import AT


def answer(line: str) -> dict[str, Any]:
    """What the case of a line led to; an exception is a failure, too."""

    def announce(algorithm: str) -> None:
        print(AT + algorithm, file=sys.stderr, flush=True)

    announce("the start")
    try:
        outcome = check(Case.parse(line), announce)
        return {"failures": outcome.failures, "counts": outcome.counts}
    except Exception as error:
        return {"failures": [raised(error, "")], "counts": {}}


def main() -> None:
    """Answer until stdin ends."""
    faulthandler.enable()
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


if __name__ == "__main__":
    main()
