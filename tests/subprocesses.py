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


def python(*arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python <arguments>``; its output is captured, a timeout is an error."""
    folders = [str(Path(fastconv.__file__).parent.parent), str(HERE)]
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output_of(code: str, timeout: float = 60, **environment: str) -> str:
    """What ``code`` prints; AssertionError with its messages when it fails."""
    run = python("-c", code, timeout=timeout, **environment)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run.stdout
