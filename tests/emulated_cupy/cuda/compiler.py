"""``cupy.cuda.compiler``: what a compilation that fails raises."""

from __future__ import annotations

from typing import TextIO


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """The compiler's log, and what was compiled."""

    def __init__(self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "nvrtc") -> None:
        self._msg, self.source, self.name, self.options, self.backend = msg, source, name, options, backend
        super().__init__()

    def __str__(self) -> str:
        return self.get_message()

    def get_message(self) -> str:
        """The log."""
        return self._msg

    def dump(self, f: TextIO) -> None:
        """Write the log and the source."""
        f.write(f"{self._msg}\n{self.source}\n")
