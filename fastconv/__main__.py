"""``python -m fastconv`` is the command ``fastconv``."""

import sys

from ._cli import main

sys.exit(main())
