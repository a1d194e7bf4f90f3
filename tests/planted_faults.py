"""Plants the faults of planted_faults.toml one by one and sees that the tests named beside each of them fail.

    python tests/planted_faults.py                    all of them, in a copy of the tree; status 1 if one survives
    python tests/planted_faults.py nchw blas          those whose names contain one of the words
    python tests/planted_faults.py --jobs 4           four at a time

The copy is built once, without much optimisation and for few ISA levels. A fault in C is compiled for its level alone.
A crash is a failure, too; a test that takes longer than TEST_SECONDS, or a fault that does not compile, is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".toml")
LEVEL = "x86-64-v3"
"""The ISA level that faults are planted in where they name no other."""
NEEDED_LEVELS = {"avx512-bf16": ("x86-64-v4",)}
"""Levels that another one takes kernels from."""
TEST_SECONDS = 300
NOT_COPIED = (".git", "build", "dist", "*.so", "*.egg-info", "__pycache__", ".*_cache", ".venv", ".hypothesis")


@dataclass(frozen=True)
class Fault:
    """One mistake: ``old``, which occurs once in ``file``, replaced by ``new``."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Tests of which at least one has to fail: "<file>::<test>", and after a space what pytest -k takes."""
    level: str = LEVEL

    @property
    def is_native(self) -> bool:
        """Whether something has to be compiled; tests compile what is theirs."""
        return not self.file.endswith(".py") and not self.file.startswith("tests/")

    def plant(self, tree: Path) -> None:
        """Make the mistake in a tree; ValueError where its place is not there."""
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {text.count(self.old)} times in {self.file}: {self.old}")
        path.write_text(text.replace(self.old, self.new))


def read_faults() -> list[Fault]:
    """All faults of the table."""
    with TABLE.open("rb") as file:
        table = tomllib.load(file)
    return [Fault(name, **{**fields, "tests": tuple(fields["tests"])}) for name, fields in table.items()]


def selection(test: str) -> list[str]:
    """pytest's arguments for a named test."""
    node, _, words = test.partition(" ")
    return [f"tests/{node}", *(["-k", words] if words else [])]


def identifier(level: str) -> str:
    """A level's name in setup.py and in the names of files."""
    return level.replace("-", "_")


class Build:
    """A built copy of the tree, which others are copied from, and the commands that built it."""

    def __init__(self, folder: Path, levels: Sequence[str]) -> None:
        self.tree = folder / "clean"
        self.levels = levels
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
        self._simplify()
        # One at a time: lines that are printed side by side run into each other.
        output = run([sys.executable, "setup.py", "build_ext", "--inplace", "-j1"], self.tree)
        # Without the probes for flags, which compile files that are gone.
        lines = [line for line in output.splitlines() if " -o " in line and "probe" not in line]
        self.commands = [shlex.split(line) for line in lines]
        self.sources = [self._sources(command) if "-c" in command else set() for command in self.commands]

    def _simplify(self) -> None:
        """Less optimisation, and no kernels of other levels."""
        path = self.tree / "setup.py"
        text = re.sub('"-O[23]"', '"-O1"', path.read_text())
        kept = {identifier(level) for level in self.levels}
        read = "levels = isa_levels([*self.compiler.compiler_so, *PORTABLE_FLAGS])\n"
        without = (
            f"{read}        for name in levels.keys() - {kept}:\n"
            '            levels[name] = [*baseline(levels), "-DNOT_COMPILED"]\n'
        )
        assert read in text
        path.write_text(text.replace(read, without, 1))

    def copy(self, tree: Path) -> None:
        """A copy with the times of all files, so that nothing in it has to be built again."""
        shutil.copytree(self.tree, tree, symlinks=True)

    def rebuild(self, tree: Path, fault: Fault) -> None:
        """Build what a fault in ``tree`` changes."""
        changed, translated = {fault.file}, f"build/cython/{fault.file}"
        if fault.file.endswith(".pyx"):
            run([sys.executable, "setup.py", "--name"], tree)  # which translates what has changed
            changed = {f"{translated.removesuffix('.pyx')}.c"}
        elif (tree / translated).exists():  # a header, which Cython puts beside what includes it
            shutil.copy2(tree / fault.file, tree / translated)
            changed.add(translated)
        made: set[str] = set()
        for command, sources in zip(self.commands, self.sources, strict=True):
            target = command[command.index("-o") + 1]
            if "-c" in command:
                level = next((word for word in command if word.startswith("-DISA_LEVEL=")), None)
                is_other = level is not None and level != f"-DISA_LEVEL={identifier(fault.level)}"
                if is_other or not changed & sources:
                    continue
            elif not made & set(command):
                continue
            run(command, tree)
            made.add(target)
            if "-shared" in command:  # linked under build/lib..., used in place
                shutil.copy2(tree / target, tree.joinpath(*Path(target).parts[2:]))
        if not made:
            raise RuntimeError(f"nothing is compiled from {fault.file}")

    def _sources(self, command: list[str]) -> set[str]:
        """The files that a command compiles."""
        target = command.index("-o")
        found = run([*command[:target], *command[target + 2 :], "-MM"], self.tree)
        return {os.path.normpath(word) for word in found.replace("\\\n", " ").split()}


def run(command: Sequence[str], tree: Path) -> str:
    """What a command prints; RuntimeError where it fails."""
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def outcome(tree: Path, test: str, level: str) -> str:
    """How a named test goes: "passed", "failed", "crashed", "timed out", or what else pytest says."""
    environment = {**os.environ, "FASTCONV_MAX_ISA": level, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *selection(test)]
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TEST_SECONDS)
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        # With the processes that a test has started and that hang.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode < 0:
        return "crashed"
    named = {0: "passed", 1: "failed"}.get(process.returncode)
    if named == "passed" and not re.search(r"\d+ passed", output):
        return "skipped"
    return named or f"pytest's status {process.returncode}: {output[-1000:]}"


def verdict(build: Build, folder: Path, fault: Fault) -> str:
    """What became of a fault: "killed by ...", "survived" or "error: ..."."""
    tree = folder / fault.name
    build.copy(tree)
    try:
        fault.plant(tree)
        if fault.is_native:
            build.rebuild(tree, fault)
        for test in fault.tests:
            how = outcome(tree, test, fault.level)
            if how in ("failed", "crashed"):
                return f"killed: {test} {how}"
            if how != "passed":
                return f"error: {test}: {how}"
        return "survived"
    except (RuntimeError, ValueError) as error:
        return f"error: {error}"
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def failing_tests(build: Build, faults: Sequence[Fault], pool: ThreadPoolExecutor) -> Iterator[str]:
    """Named tests that do not pass without any fault."""
    tests = list(dict.fromkeys((test, fault.level) for fault in faults for test in fault.tests))
    for (test, level), how in zip(tests, pool.map(lambda pair: outcome(build.tree, *pair), tests), strict=True):
        if how != "passed":
            yield f"{test} at {level}: {how}"


def usable_levels() -> set[str]:
    """The ISA levels of this machine, of those that faults are planted in."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    words = set(flags[1].split()) if flags else set()
    needed = {"x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "avx512-bf16": {"avx512_bf16"}}
    return {LEVEL, *(level for level, flags_of_level in needed.items() if flags_of_level <= words)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of names; default: all faults")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="faults at a time")
    parser.add_argument("--unchecked", action="store_true", help="do not run the tests without faults first")
    options = parser.parse_args()
    usable = usable_levels()
    wanted = [f for f in read_faults() if not options.words or any(word in f.name for word in options.words)]
    faults = [fault for fault in wanted if fault.level in usable]
    levels = {fault.level for fault in faults}
    levels |= {needed for level in levels for needed in NEEDED_LEVELS.get(level, ())}
    print(f"{len(faults)} faults on {platform.machine()}, {len(wanted) - len(faults)} need another machine", flush=True)
    start, verdicts = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="planted_faults_") as name:
        folder = Path(name)
        build = Build(folder, sorted(levels))
        print(f"built in {time.monotonic() - start:.0f} s", flush=True)
        pool = ThreadPoolExecutor(options.jobs)
        failing = [] if options.unchecked else list(failing_tests(build, faults, pool))
        for line in failing:
            print(f"FAILS WITHOUT A FAULT {line}", flush=True)

        def judge(fault: Fault) -> None:
            begin = time.monotonic()
            verdicts[fault.name] = verdict(build, folder, fault)
            print(f"{fault.name:48s} {verdicts[fault.name]}  ({time.monotonic() - begin:.0f} s)", flush=True)

        list(pool.map(judge, faults))
    bad = [name for name, said in verdicts.items() if not said.startswith("killed")]
    print(f"{len(faults) - len(bad)} of {len(faults)} killed in {time.monotonic() - start:.0f} s", *bad)
    return 1 if bad or failing else 0


if __name__ == "__main__":
    sys.exit(main())
