"""What is compiled for the tests is kept beside them: made once, whoever of several processes comes first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def folder() -> Path:
    """``EMULATED_CUPY_CACHE``, or the folder ``build`` beside this file, which Git ignores; a new one if need be."""
    chosen = Path(os.environ.get("EMULATED_CUPY_CACHE") or Path(__file__).parent / "build")
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        if os.access(chosen, os.W_OK):
            return chosen
    except OSError:
        pass
    os.environ["EMULATED_CUPY_CACHE"] = tempfile.mkdtemp(prefix="emulated_cupy")
    return Path(os.environ["EMULATED_CUPY_CACHE"])


def built(suffix: str, depends_on: object, make: Callable[[Path], None]) -> Path:
    """The file that ``make(path)`` writes, kept under a name that says what it depends on."""
    kept = folder() / (hashlib.sha256(repr(depends_on).encode()).hexdigest()[:32] + suffix)
    if not kept.exists():
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                partial = kept.with_suffix(".partial")
                make(partial)
                partial.replace(kept)
    return kept
