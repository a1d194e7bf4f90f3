"""Tuned choices of this machine: in memory, and in one JSON file that processes share.

The file can make the library slower, never wrong: it is data, it is validated, and a choice in it is a hint that
selection checks again. Whatever is wrong with file or directory costs one warning and no computation.
"""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _fingerprint, _tuning_file
from ._algorithm import Machine
from ._fingerprint import Fingerprint
from ._problem import ConvProblem
from ._tuning_record import LONGEST_SECONDS, TuningRecord

FORMAT = 1

Key = tuple[str, int]
"""Problem text and number of threads."""


@dataclass
class Content:
    """What one file holds; ``choices`` are plain values that are validated when they are asked for."""

    fingerprint: Fingerprint
    machine: Machine | None = None
    choices: dict[Key, object] = field(default_factory=dict)

    def records(self) -> list[TuningRecord]:
        """Every valid record."""
        found = (TuningRecord.from_json(*key, value) for key, value in self.choices.items())
        return [record for record in found if record is not None]

    def find(self, problem: ConvProblem, threads: int) -> TuningRecord | None:
        """The valid record of a problem, if there is one."""
        key = str(problem), threads
        return TuningRecord.from_json(*key, self.choices[key]) if key in self.choices else None

    def add(self, records: Iterable[TuningRecord]) -> None:
        """Put records in; of two for the same key the one measured later stays."""
        for record in records:
            known = TuningRecord.from_json(*record.key, self.choices.get(record.key))
            if known is None or known.measured_at <= record.measured_at:
                self.choices[record.key] = record.to_json()


def directory() -> Path | None:
    """FASTCONV_CACHE_DIR, else fastconv under XDG_CACHE_HOME, else under ~/.cache; None where there is no home."""
    chosen = os.environ.get("FASTCONV_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "fastconv"
    try:
        return Path.home() / ".cache" / "fastconv"
    except RuntimeError:
        return None


def parse(text: str) -> Content:
    """The content of a file's text; ValueError where it has not the form of one. Bad choices are left out later."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    match value:
        case {"format": format_number, "fingerprint": dict(fields), "choices": dict(by_problem)}:
            pass
        case _:
            raise ValueError("not a file of tuned choices")
    if format_number != FORMAT or not all(isinstance(text, str) for text in fields.values()):
        raise ValueError(f"not of format {FORMAT}")
    choices: dict[Key, object] = {}
    for problem, by_threads in by_problem.items():
        for threads, choice in by_threads.items() if isinstance(by_threads, dict) else ():
            if threads.isascii() and threads.isdigit() and len(threads) < 10:
                choices[problem, int(threads)] = choice
    return Content(fields, _machine_from_json(value.get("machine")), choices)


def render(content: Content) -> str:
    """The text of a file, at most LIMIT_BYTES: the records measured longest ago are left out where there are too many.

    Only valid records are written, one per line.
    """
    records = sorted(content.records(), key=lambda record: record.measured_at, reverse=True)
    head = {"format": FORMAT, "fingerprint": content.fingerprint, "machine": _machine_to_json(content.machine)}
    room = _tuning_file.LIMIT_BYTES - len(json.dumps(head)) - 64
    lines: dict[str, list[str]] = {}
    for record in records:
        problem, threads = record.key
        line = f"{json.dumps(str(threads))}: {json.dumps(record.to_json())}"
        room -= len(line) + len(json.dumps(problem)) + 16
        if room < 0:
            break
        lines.setdefault(problem, []).append(line)
    choices = ",\n".join(f"{json.dumps(problem)}: {{{', '.join(kept)}}}" for problem, kept in sorted(lines.items()))
    return f'{json.dumps(head)[:-1]}, "choices": {{\n{choices}\n}}}}\n'


class TuningCache:
    """The choices of one fingerprint, read once, and written through to the file."""

    def __init__(self, folder: Path | None, fingerprint: Fingerprint) -> None:
        self.folder = folder
        self.path = None if folder is None else folder / _fingerprint.file_name(fingerprint)
        self.content = Content(fingerprint)
        stored = self._read()
        if stored is not None:
            self.content = stored

    def store(self, records: Iterable[TuningRecord]) -> None:
        """Keep records, in memory and on disk."""
        kept = list(records)
        self._update(lambda content: content.add(kept))

    def store_machine(self, machine: Machine) -> None:
        """Keep the measured constants of the cost models."""
        self._update(lambda content: setattr(content, "machine", machine))

    def forget(self, keep: Callable[[Key], bool] = lambda key: False, machine: bool = False) -> int:
        """Drop the choices that ``keep`` does not want, and the machine's constants if asked to; how many went."""
        before = len(self.content.choices)

        def drop(content: Content) -> None:
            content.choices = {key: value for key, value in content.choices.items() if keep(key)}
            content.machine = None if machine else content.machine

        self._update(drop)
        return before - len(self.content.choices)

    def _update(self, change: Callable[[Content], None]) -> None:
        """Change what the file holds now, which another process may have written since; in memory, come what may."""
        change(self.content)
        if self.path is None:
            return
        try:
            with _tuning_file.locked(self.path):
                stored = self._read()
                if stored is not None:
                    change(stored)
                    self.content = stored
                _tuning_file.replace(self.path, render(self.content))
        except (OSError, _tuning_file.RefusedError) as error:
            reason = error if isinstance(error, _tuning_file.RefusedError) else error.strerror
            _warn_once(self.path, f"cannot be written ({reason}); tuned choices last until this process ends")

    def _read(self) -> Content | None:
        """The file's content; None, and a warning where there is something wrong with it, without one."""
        if self.path is None:
            return None
        try:
            text = _tuning_file.read(self.path)
            if text is None:
                return None
            content = parse(text)
            if content.fingerprint != self.content.fingerprint:
                raise ValueError("measured on another machine")
            return content
        except (_tuning_file.RefusedError, OSError) as reason:
            _warn_once(self.path, f"{reason}; tuned choices in it are not used")
        except ValueError as reason:
            _tuning_file.set_aside(self.path)
            _warn_once(self.path, f"is damaged ({reason}); it was renamed to {self.path.name}.bad")
        return None


_current: TuningCache | None = None
_warned: set[Path] = set()


def current() -> TuningCache:
    """The cache of this machine and of the directory that the environment names now."""
    global _current
    folder = directory()
    cache = _current
    if cache is None or cache.folder != folder:
        _current = cache = TuningCache(folder, _fingerprint.fingerprint())
    return cache


def reload() -> None:
    """Read the file again at the next question."""
    global _current
    _current = None


def _warn_once(path: Path, message: str) -> None:
    if path not in _warned:
        _warned.add(path)
        warnings.warn(f"fastconv: {path} {message}", RuntimeWarning, stacklevel=2)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _machine_to_json(machine: Machine | None) -> dict[str, Any] | None:
    return None if machine is None else dataclasses.asdict(machine)


def _machine_from_json(value: object) -> Machine | None:
    """The Machine that plain values describe, all of its constants positive; None otherwise."""
    names = {entry.name for entry in dataclasses.fields(Machine)}
    if not isinstance(value, dict) or not names <= value.keys():
        return None
    constants = {name: value[name] for name in names}
    numbers: list[object] = []
    for constant in constants.values():
        numbers.extend(constant.values() if isinstance(constant, Mapping) else [constant])
    if not all(isinstance(number, float) and 0 < number < LONGEST_SECONDS**2 for number in numbers):
        return None
    rates = constants["multiply_adds_per_second"]
    if not isinstance(rates, dict) or not {"float32", "float64"} <= rates.keys():
        return None
    return Machine(**constants)
