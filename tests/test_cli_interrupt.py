"""Ctrl-C at the command: one line, no traceback, and what was measured is kept; also while it is being imported."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from cli_cases import PROBLEM, process
from fastconv._choose import tuning_cache
from subprocesses import environment, python
from tuning_cases import reread

pytestmark = pytest.mark.usefixtures("cache_folder")

LAYER = r"conv1 |layer\d"
"""How the rows of ResNet-50 begin."""


def test_interrupted_autotune_keeps_what_it_measured(cache_folder, tmp_path):
    file = tmp_path / "results.json"
    child = process("autotune", "resnet50", "--threads", "1", "--json", str(file), stderr=subprocess.PIPE)
    lines = []
    while len(lines) < 2:
        line = child.stdout.readline()
        assert line, "the command ended early"
        lines += [line] if re.match(LAYER, line) else []
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert errors == "fastconv autotune: interrupted; what was measured is stored\n"
    lines += [line for line in rest.splitlines() if re.match(LAYER, line)]
    reread()
    stored = tuning_cache.current().content.records()
    assert 2 <= len(stored) < 23
    assert len(stored) - len(lines) in (0, 1)
    assert len(json.loads(file.read_text())["results"]) == len(lines)


def test_interrupt_is_one_line_and_status_130(run, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    assert run("autotune", PROBLEM, "--threads", "1")[0] == 0
    monkeypatch.setattr("fastconv._choose.tune.tune_problem", interrupted)
    status, out, err = run("autotune", PROBLEM, "lenet", "--threads", "1")
    assert (status, err) == (130, "fastconv autotune: interrupted; what was measured is stored\n")
    assert out.count("stored") == 1
    monkeypatch.setattr(tuning_cache.TuningCache, "is_saved", False)
    assert run("autotune", "lenet", "--threads", "1")[2] == "fastconv autotune: interrupted\n"
    assert run("bench", PROBLEM)[::2] == (130, "fastconv bench: interrupted\n")


INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *rest):
        if name == "numpy": os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""
"""Raised by the import itself, so that it always comes at that moment."""


def interrupted_import(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on these words, with Ctrl-C as soon as it imports NumPy."""
    (folder / "sitecustomize.py").write_text(INTERRUPTED_IMPORT)
    searched = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    return python(*shlex.split(words), PYTHONPATH=searched)


@pytest.mark.parametrize(
    "words", ["-c 'import fastconv_command; fastconv_command.main()'", "-m fastconv info", "-Bmfastconv info"]
)
def test_interrupt_while_the_library_is_imported_is_quiet(words, tmp_path):
    found = interrupted_import(tmp_path, words)
    assert (found.returncode, found.stdout, found.stderr) == (-signal.SIGINT, "", "")


def test_interrupt_of_another_program_that_imports_the_library_is_raised(tmp_path):
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__init__.py").write_text("import fastconv\n")
    assert interrupted_import(tmp_path, "-m program fastconv").stderr.endswith("KeyboardInterrupt\n")
