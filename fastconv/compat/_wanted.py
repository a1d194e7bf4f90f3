"""What is said where the library is missing that a module stands in for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def wanted(client: str, extra: str | None = None) -> Iterator[None]:
    """Imports of another library: where it is missing, the error names the extra of fastconv that installs it.

    Parameters
    ----------
    client : str
        The module below ``fastconv.compat``.
    extra : str, optional
        Where it has another name.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"fastconv.compat.{client} wants the package {(missing.name or client).partition('.')[0]}: "
            f'pip install "fastconv[{extra or client}]"',
            name=missing.name,
        ) from missing
