"""``python -m fastconv`` is the command ``fastconv``."""

import sys

from ._cli import run_process

if __name__ == "__main__":
    sys.exit(run_process())
