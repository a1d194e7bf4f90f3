"""One small text file shared by processes: read with suspicion, replaced atomically, updated under a lock.

Readers need no lock: a file is whole at any moment, whoever is killed while writing. Writers read, change and replace
it under the lock, so that no update undoes another.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from collections.abc import Iterator
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


class Lock:
    """The right to replace the file, for as long as the lock's file is where it was taken.

    It owns what it has opened from the start, so that ``release`` gives the lock back whenever Ctrl-C came.
    """

    def __init__(self, path: Path) -> None:
        self._locked, self._created = path.with_name(path.name + ".lock"), path.with_name(path.name + ".locked")
        self._file: io.FileIO | None = None
        self._is_flock = True
        """Whether it is a lock on an open file, which ends with its process; otherwise the file's existence is the
        lock."""

    def try_take(self) -> bool:
        """Take it, unless another process holds it; whether it is held now.

        By locking an open file, or by creating another one on file systems without locks; which it is depends on the
        file system alone.
        """
        if fcntl is None:
            return self._try_create()
        self._is_flock = True
        file = self._open(self._locked, os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close()
            return not isinstance(error, BlockingIOError) and self._try_create()
        if not self.is_held():
            self.release()
        return self.is_held()

    def _try_create(self) -> bool:
        self._is_flock = False
        with contextlib.suppress(FileExistsError):
            self._open(self._created, os.O_CREAT | os.O_EXCL)
        return self._file is not None

    def _open(self, path: Path, flags: int) -> io.FileIO:
        flags |= os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = io.FileIO(path, "r+", opener=lambda name, _: os.open(name, flags, 0o600))
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def is_held(self) -> bool:
        """Whether it was taken, and nobody has removed the lock's file since, so that another could take the lock."""
        if self._file is None:
            return False
        try:
            there = os.stat(self._locked if self._is_flock else self._created, follow_symlinks=False)
            here = os.fstat(self._file.fileno())
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        if self._is_flock and self._file is not None:
            # Not left to close: a child forked meanwhile has the descriptor, too.
            fcntl.flock(self._file, fcntl.LOCK_UN)
        elif self.is_held():
            self._created.unlink(missing_ok=True)
        self._close()

    def break_created(self) -> None:
        """Remove the lock that a file's existence is, of a process that died; one that slept finds it lost."""
        self._created.unlink(missing_ok=True)

    def stamp(self) -> tuple[int, int] | None:
        """What changes whenever a lock that is a file's existence is taken; None while it is not."""
        return _stamp(self._created)


def read(path: Path) -> str | None:
    """The file's text; None where there is no file.

    Raises
    ------
    RefusedError
        If it is a symbolic link, not a regular file, another user's, or cannot be read.
    ValueError
        If it is larger than LIMIT_BYTES or not UTF-8.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            _check_owned(os.fstat(file.fileno()), stat.S_ISREG, "a regular file")
            content = file.read(LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except RefusedError:
        raise
    except OSError as error:
        raise RefusedError(
            "is a symbolic link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        ) from None
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"larger than {LIMIT_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("not a text in UTF-8") from None


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
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(temporary, "w", encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o600)) as file:
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
    lock = Lock(path)
    try:
        _wait_for(lock, path, patience_seconds)
        try:
            yield lock
        except FileNotFoundError as error:
            if not lock.is_held():
                raise LostLockError from error
            raise
    finally:
        lock.release()


def _wait_for(lock: Lock, path: Path, patience_seconds: float) -> None:
    """Take the lock as soon as it is free; while others replace the file, that is only a matter of time."""
    pause, longest_pause = RETRY_SECONDS
    last, looked, waited = (_stamp(path), lock.stamp()), time.monotonic(), 0.0
    while True:
        _make_folder(path.parent)
        if lock.try_take():
            return
        stamps, now = (_stamp(path), lock.stamp()), time.monotonic()
        waited = waited + min(now - looked, LONGEST_LOOK_SECONDS) if stamps == last else 0.0
        last, looked = stamps, now
        if waited > patience_seconds:
            if stamps[1] is None:
                raise RefusedError("another process keeps it locked")
            lock.break_created()
        time.sleep(pause)
        pause = min(2 * pause, longest_pause)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


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
