"""Tuned choices of this machine: in memory, and in one JSON file that processes share; for each GPU in another one.

The file can make the library slower, never wrong: it is data, it is validated, and a choice in it is a hint that
selection checks again. Whatever is wrong with file or directory costs one warning and no computation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._algorithm import Machine
from .._backend import CPU, Backend
from .._problem import ConvProblem
from . import tuning_file
from .tuning_record import TuningRecord

FORMAT = 1

SHORT_PATIENCE_SECONDS = 1.0
"""How long to wait for the file's lock where waiting longer has been in vain, or is not worth it."""

Fingerprint = dict[str, str]
"""Field names to texts, in a fixed order."""
Key = tuple[str, int]
"""Problem text and number of threads."""


@dataclass
class Content:
    """What one file holds; ``choices`` are plain values that are validated when they are asked for."""

    fingerprint: Fingerprint
    machine: Machine | None = None
    machine_refused: str = ""
    """Why the file's constants of the cost models are not used."""
    choices: dict[Key, object] = field(default_factory=dict)

    def changed(self, changes: Iterable[Change]) -> Content:
        """A copy with the changes made; this one stays as it is, for other threads may be reading it."""
        content = dataclasses.replace(self, choices=dict(self.choices))
        for change in changes:
            change(content)
        return content

    def records(self) -> list[TuningRecord]:
        """Every valid record."""
        found = (TuningRecord.from_json(*key, value) for key, value in self.choices.items())
        return [record for record in found if record is not None]

    def find(self, problem: ConvProblem, threads: int) -> TuningRecord | None:
        """The valid record of a problem, if there is one."""
        if not self.choices:
            return None
        key = str(problem), threads
        return TuningRecord.from_json(*key, self.choices[key]) if key in self.choices else None

    def add(self, records: Iterable[TuningRecord]) -> None:
        """Put records in; where two have the same key, the one measured later stays."""
        for record in records:
            known = TuningRecord.from_json(*record.key, self.choices.get(record.key))
            if known is None or known.measured_at <= record.measured_at:
                self.choices[record.key] = record.to_json()


Change = Callable[[Content], None]
"""What is done to a content, in place."""


def directory() -> Path | None:
    """FASTCONV_CACHE_DIR, else fastconv under XDG_CACHE_HOME, else under ~/.cache; None where there is no home."""
    chosen = os.environ.get("FASTCONV_CACHE_DIR")
    if not chosen:
        return _user_directory(os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME"))
    return _given_directory(chosen) if os.path.isabs(chosen) else Path(chosen).absolute()


_given_directory = functools.lru_cache(maxsize=8)(Path)


@functools.lru_cache(maxsize=8)
def _user_directory(base: str, home: str | None) -> Path | None:
    """The directory under one of these two; the home of the user's account where the environment names none."""
    if os.path.isabs(base):
        return Path(base) / "fastconv"
    try:
        return Path.home() / ".cache" / "fastconv"
    except RuntimeError:
        return None


def parse(text: str) -> Content:
    """The content of a file's text; ValueError where the text is not of that form. Bad choices are left out later."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON from line {error.lineno}, column {error.colno} on") from None
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
    content = Content(fields, choices=choices)
    try:
        content.machine = None if value.get("machine") is None else Machine.of(value["machine"])
    except ValueError as reason:
        content.machine_refused = f"{reason}; the default constants of the cost models are used"
    return content


def render(content: Content) -> str:
    """The text of a file, at most LIMIT_BYTES: the records measured longest ago are left out where there are too many.

    Only valid records are written, one per line.
    """
    records = sorted(content.records(), key=lambda record: record.measured_at, reverse=True)
    head = {"format": FORMAT, "fingerprint": content.fingerprint, "machine": _machine_to_json(content.machine)}
    room = tuning_file.LIMIT_BYTES - len(json.dumps(head)) - 64
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


def file_name(fields: Fingerprint, kind: str = CPU.name) -> str:
    """Name of the file that keeps the choices of one fingerprint; ``kind`` is the name of the backend."""
    text = json.dumps(fields, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


class TuningCache:
    """The choices of one fingerprint, read once, and written through to the file."""

    def __init__(self, folder: Path | None, fingerprint: Fingerprint, kind: str = CPU.name) -> None:
        self.folder = folder
        self.path = None if folder is None else folder / file_name(fingerprint, kind)
        self._unsaved: list[Change] = []
        self.content = Content(fingerprint)
        self.content = self._read() or self.content

    def store(self, records: Iterable[TuningRecord]) -> None:
        """Keep records, in memory and on disk."""
        kept = list(records)
        self._update(lambda content: content.add(kept))

    def store_machine(self, machine: Machine) -> None:
        """Keep the measured constants of the cost models."""
        self._update(lambda content: setattr(content, "machine", machine))

    def forget(self, keep: Callable[[Key], bool] = lambda key: False, machine: bool = False) -> int:
        """Drop the choices that ``keep`` does not want, and with ``machine`` the constants; how many choices went."""
        before = len(self.content.choices)

        def drop(content: Content) -> None:
            content.choices = {key: value for key, value in content.choices.items() if keep(key)}
            content.machine = None if machine else content.machine

        self._update(drop)
        return before - len(self.content.choices)

    @property
    def is_saved(self) -> bool:
        """Whether the file has everything that was to be kept; what it lacks lasts until this process ends."""
        return not self._unsaved

    def _update(self, change: Change) -> None:
        """Change what the file holds now, which another process may have written since; in memory, come what may.

        A change that cannot be written is warned of, and written together with the next one.
        """
        was_saved = self.is_saved
        self._unsaved.append(change)
        self.content = self.content.changed([change])
        if self.path is None:
            reason = "there is no home directory to keep tuned choices in, and FASTCONV_CACHE_DIR names none"
        else:
            try:
                self._save(self.path, tuning_file.LOCK_PATIENCE_SECONDS if was_saved else SHORT_PATIENCE_SECONDS)
                return
            except OSError as error:
                reason = f"{self.path} cannot be written ({_words(error)})"
        if was_saved:
            _warn(f"{reason}; tuned choices last until this process ends")

    def _save(self, path: Path, patience_seconds: float) -> None:
        """Write the changes that are not in the file."""
        while True:
            with contextlib.suppress(tuning_file.LostLockError), tuning_file.locked(path, patience_seconds) as lock:
                changes = list(self._unsaved)  # also those of other threads
                content = (self._read(is_locked=True) or self.content).changed(changes)
                tuning_file.replace(path, render(content), lock)
                self.content = content
                del self._unsaved[: len(changes)]
                return

    def _read(self, is_locked: bool = False) -> Content | None:
        """The file's content; None without a file, and with a warning where something is wrong with it."""
        if self.path is None:
            return None
        try:
            text = tuning_file.read(self.path)
            if text is None:
                return None
            content = parse(text)
            if content.fingerprint != self.content.fingerprint:
                raise ValueError("measured on another machine")
        except OSError as error:
            warn_once(self.path, f"{_words(error)}; tuned choices in it are not used")
        except ValueError as reason:
            return self._set_aside(self.path, reason, is_locked)
        else:
            if content.machine_refused:
                warn_once(self.path, content.machine_refused)
            return content
        return None

    def _set_aside(self, path: Path, reason: ValueError, is_locked: bool) -> Content | None:
        """Rename the damaged file, or return what it holds now: without the lock, another process may replace it."""
        try:
            if not is_locked:
                with tuning_file.locked(path, SHORT_PATIENCE_SECONDS):
                    return self._read(is_locked=True)
            tuning_file.set_aside(path)
            warn_once(path, f"is damaged ({reason}); it was renamed to {path.name}.bad")
        except OSError:
            warn_once(path, f"is damaged ({reason}); tuned choices in it are not used")
        return None


_current: dict[tuple[str, int], TuningCache] = {}
"""By backend and device; devices of one kind share one."""
_warned: set[tuple[Path, str]] = set()


def current(backend: Backend = CPU) -> TuningCache:
    """The cache of this machine, or of its current GPU, and of the directory that the environment names now."""
    folder, key = directory(), (backend.name, backend.current_device())
    cache = _current.get(key)
    if cache is None or (cache.folder is not folder and cache.folder != folder):
        fields = backend.fingerprint()
        alike = [one for one in _current.values() if (one.folder, one.content.fingerprint) == (folder, fields)]
        cache = alike[0] if alike else TuningCache(folder, fields, backend.name)
        _current[key] = cache
    return cache


def reload() -> None:
    """Read the files again at the next question."""
    _current.clear()


def warn_once(path: Path, message: str) -> None:
    """Warn of something about a file, unless this process did so already."""
    if (path, message) not in _warned:
        _warned.add((path, message))
        _warn(f"{path} {message}")


def _warn(message: str) -> None:
    warnings.warn(f"fastconv: {message}", RuntimeWarning, stacklevel=2)


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _machine_to_json(machine: Machine | None) -> dict[str, Any] | None:
    return None if machine is None else dataclasses.asdict(machine)
