"""Ctrl-C while ``python -m fastconv`` is still being imported: it ends the process, without a traceback.

The first module that the package imports; ``fastconv_command`` does the same for the command ``fastconv``.
"""

from __future__ import annotations

import signal
import sys

_MODULE = sys.orig_argv[-len(sys.argv)] if sys.argv[:1] == ["-m"] else ""
"""The word that names what ``python -m`` is looking for now; options may be in front of it without a blank."""
_IS_COMMAND = (
    _MODULE == "fastconv" or (_MODULE.startswith("-") and _MODULE.endswith("mfastconv"))
) and signal.getsignal(signal.SIGINT) is signal.default_int_handler

if _IS_COMMAND:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_from_now_on() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again: the command has begun, and deals with it."""
    if _IS_COMMAND:
        signal.signal(signal.SIGINT, signal.default_int_handler)
