"""One small text file shared by processes: read with suspicion, replaced atomically, updated under a best-effort lock.

Readers need no lock: a file is whole at any moment, whoever is killed while writing. A lost lock costs at most a lost
update.
"""

from __future__ import annotations

import contextlib
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
LOCK_PATIENCE_SECONDS = 2.0
STALE_SECONDS = 3600.0
"""Temporary files older than this were left by a process that was killed."""


class RefusedError(Exception):
    """The file is there and must not be used; the message says why."""


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


def replace(path: Path, text: str) -> None:
    """Put ``text`` in the file's place, atomically and durably; OSError or RefusedError where that is not possible."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def set_aside(path: Path) -> None:
    """Rename an unusable file to ``<name>.bad``, so that it can be looked at and is not read again."""
    with contextlib.suppress(OSError):
        os.replace(path, path.with_name(path.name + ".bad"))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock inside a ``with`` block, or nothing after LOCK_PATIENCE_SECONDS or where there are no locks.

    Also clears temporary files that killed processes left.
    """
    descriptor = _lock(path)
    try:
        _clear_stale(path)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    if fcntl is None:
        return None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    except OSError:
        return None
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        except OSError:
            break
    os.close(descriptor)
    return None


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
