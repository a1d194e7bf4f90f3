"""Python in a process of its own, with the same fastconv and the suite's modules: for what may crash, hang or count."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fastconv

HERE = Path(__file__).parent
COMPILER = (os.environ.get("CC") or "cc").split()
"""The C compiler's command, as the build's."""


def has_compiler() -> bool:
    """Whether there is one."""
    return shutil.which(COMPILER[0]) is not None


def environment(**changes: str) -> dict[str, str]:
    """This process's, with ``changes``, for a Python process that finds the same fastconv and the suite's modules.

    The working directory is not looked at: in a checkout it has the sources of fastconv, which are built there only in
    development. Where they are, the path names them.
    """
    folders = [str(Path(fastconv.__file__).parent.parent), str(HERE)]
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", **changes}


def python(*arguments: str, timeout: float = 60, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``python <arguments>`` in the environment with ``changes``; its output is captured, a timeout is an error."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *arguments],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output_of(code: str, timeout: float = 60, **changes: str) -> str:
    """What ``code`` prints; AssertionError with its messages when it fails."""
    run = python("-c", code, timeout=timeout, **changes)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run.stdout
