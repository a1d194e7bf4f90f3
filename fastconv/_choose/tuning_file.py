"""One small text file shared by processes: read with suspicion, replaced atomically, updated under a lock.

Readers need no lock: a file is whole at any moment, whoever is killed while writing. Writers read, change and replace
it under the lock, so that no update undoes another.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LIMIT_BYTES = 4 * 2**20
LOCK_PATIENCE_SECONDS = 30.0
"""How long to wait for the lock while nobody replaces the file: its holder is stopped, or hangs."""
RETRY_SECONDS = 0.001, 0.03
"""First and longest pause between two looks at the lock; many that look often slow down the one that writes."""
LONGEST_LOOK_SECONDS = 0.1
"""The most that counts as waiting between two looks at the lock; if more has passed, this process was stopped, too."""
STALE_SECONDS = 3600.0
"""Temporary files older than this were left by a process that was killed."""


class RefusedError(OSError):
    """The file is there and must not be used; the message says why."""


class LostLockError(RefusedError):
    """The lock's file was removed by another process: what was read may have been replaced since."""

    def __init__(self) -> None:
        super().__init__("lost its lock")


@dataclass(frozen=True)
class Lock:
    """The right to replace the file, for as long as the lock's file is where it was taken."""

    path: Path
    descriptor: int
    is_flock: bool
    """Whether it is a lock on an open file, which ends with its process; otherwise the file's existence is the lock."""

    def is_held(self) -> bool:
        """Whether nobody has removed the lock's file, so that another process could take the lock."""
        try:
            there, here = os.stat(self.path, follow_symlinks=False), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def release(self) -> None:
        """Give the lock back."""
        if self.is_flock:
            # Not left to close: a child forked meanwhile has the descriptor, too.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        elif self.is_held():
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def read(path: Path) -> str | None:
    """The file's text; None where there is no file.

    Raises
    ------
    RefusedError
        If it is a symbolic link, not a regular file, another user's, or cannot be read.
    ValueError
        If it is larger than LIMIT_BYTES or not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RefusedError(
            "is a symbolic link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        _check_owned(os.fstat(descriptor), stat.S_ISREG, "a regular file")
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"larger than {LIMIT_BYTES} bytes")
    return content.decode()


def replace(path: Path, text: str, lock: Lock) -> None:
    """Put ``text`` in the file's place, atomically and durably.

    Raises
    ------
    OSError
        If that is not possible.
    LostLockError
        If the lock is no longer held; the file is as it was.
    """
    _check_owned(path.parent.stat(), stat.S_ISDIR, "a directory")
    if path.is_symlink():
        raise RefusedError("is a symbolic link")
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if not lock.is_held():
            raise LostLockError
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def set_aside(path: Path) -> None:
    """Rename an unusable file to ``<name>.bad``, so that it can be looked at and is not read again."""
    os.replace(path, path.with_name(path.name + ".bad"))


@contextlib.contextmanager
def locked(path: Path, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Iterator[Lock]:
    """Hold the file's lock inside a ``with`` block.

    Also makes its directory, and clears temporary files that killed processes left.

    Raises
    ------
    OSError
        If the lock's file cannot be made, or another process keeps the lock and does nothing.
    LostLockError
        If the directory is removed meanwhile.
    """
    _clear_stale(path)
    lock = _lock(path, patience_seconds)
    try:
        yield lock
    except FileNotFoundError as error:
        if not lock.is_held():
            raise LostLockError from error
        raise
    finally:
        lock.release()


def _lock(path: Path, patience_seconds: float) -> Lock:
    """The lock, as soon as it is free; while others replace the file, that is only a matter of time."""
    created = path.with_name(path.name + ".locked")
    pause, longest_pause = RETRY_SECONDS
    last, looked, waited = (_stamp(path), _stamp(created)), time.monotonic(), 0.0
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _try_lock(path.with_name(path.name + ".lock"), created)
        if lock is not None:
            return lock
        stamps, now = (_stamp(path), _stamp(created)), time.monotonic()
        waited = waited + min(now - looked, LONGEST_LOOK_SECONDS) if stamps == last else 0.0
        last, looked = stamps, now
        if waited > patience_seconds:
            if stamps[1] is None:
                raise RefusedError("another process keeps it locked")
            # A process that died holding a lock of this kind cannot give it back; one that slept finds it lost.
            created.unlink(missing_ok=True)
        time.sleep(pause)
        pause = min(2 * pause, longest_pause)


def _try_lock(name: Path, created: Path) -> Lock | None:
    """The lock, unless another process holds it: on the open file ``name``, or by creating ``created``.

    The latter is for file systems without locks; which it is depends on the file system alone.
    """
    if fcntl is None:
        return _try_create(created)
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else _try_create(created)
    lock = Lock(name, descriptor, is_flock=True)
    if lock.is_held():
        return lock
    lock.release()
    return None


def _try_create(name: Path) -> Lock | None:
    try:
        return Lock(name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), is_flock=False)
    except FileExistsError:
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes whenever the file is replaced."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _clear_stale(path: Path) -> None:
    with contextlib.suppress(OSError):
        for temporary in path.parent.glob(f"{path.name}.*.tmp"):
            if time.time() - temporary.stat().st_mtime > STALE_SECONDS:
                temporary.unlink()


def _check_owned(status: os.stat_result, is_kind: object, kind: str) -> None:
    if not is_kind(status.st_mode):  # type: ignore[operator]
        raise RefusedError(f"is not {kind}")
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise RefusedError(f"belongs to user {status.st_uid}, not to {os.geteuid()}")
