"""``fastconv completion``: what shells offer."""

from __future__ import annotations

import re
import subprocess

import pytest

pytestmark = pytest.mark.usefixtures("cache_folder")

COMPLETED = {
    "au": "autotune",
    "autotune resnet": "resnet18 resnet50",
    "autotune lenet --eff": "--effort",
    "autotune lenet --effort ": "estimate measure exhaustive",
    "bench --backend ": "cpu gpu",
    "cache ex": "export",
    "cache --backend gpu sh": "show",
    "cache show --b": "--backend",
    "explain --batch ": "",
    "cache export some": "some file",
    "autotune --json some": "some file",
    "completion ": "bash zsh fish --help",
}


def test_completion_in_bash(run, tmp_path):
    (tmp_path / "script").write_text(run("completion", "bash")[1])
    (tmp_path / "some file").touch()
    asked = "\n".join(
        f"COMP_WORDS=(fastconv {line}{chr(39) * 2 if line[-1] == ' ' else ''}); ask" for line in COMPLETED
    )
    ask = 'ask() { COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _fastconv; echo "${COMPREPLY[*]}"; }'
    shell = subprocess.run(
        ["bash", "-uc", f"source ./script\n{ask}\n{asked}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (shell.returncode, shell.stderr) == (0, "")
    assert dict(zip(COMPLETED, shell.stdout.split("\n"), strict=False)) == COMPLETED


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_in_other_shells_knows_every_command_and_option(run, shell):
    script = run("completion", shell)[1]
    for word in ("autotune", "cache", "export", "completion", "resnet50", "exhaustive", "float64"):
        assert re.search(rf"\b{word}\b", script), word
    for option in ("effort", "json", "backend", "remeasure", "seed"):
        assert f"-l {option} " in script if shell == "fish" else f"--{option}" in script
