"""``python -m fastconv`` is the command ``fastconv``."""

import sys

from . import _interrupt
from ._cli import run_process

if __name__ == "__main__":
    _interrupt.raise_from_now_on()
    sys.exit(run_process())
