"""What the tests of the command share: the command in this process, and as a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastconv._cli import main
from subprocesses import environment
from tuning_cases import reread

PROBLEM = "forward 1x4x10x10 6x4x3x3 p1 float32"


@pytest.fixture
def run(capsys):
    """Run the command in this process; (status, stdout, stderr)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        reread()
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def process(*arguments: str, **settings) -> subprocess.Popen:
    """Start the command as a process of its own."""
    command = [sys.executable, "-m", "fastconv", *arguments]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True, **settings)


def is_plain(shown: str) -> bool:
    """Whether the lines show as themselves."""
    return all(line.isprintable() for line in shown.split("\n"))
