"""How far a training is: a bar on a terminal where rich is installed, else a line for every epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """Shows epochs and batches on stderr.

    Parameters
    ----------
    epochs : int
    batches : int or None
        Of an epoch, where that is known.
    is_shown : bool
    """

    def __init__(self, epochs: int, batches: int | None, is_shown: bool) -> None:
        self._epochs, self._batches, self._is_shown = epochs, batches, is_shown
        self._bar = _bar() if is_shown and sys.stderr.isatty() else None
        self._task: Any = None
        self._begin = time.monotonic()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, epoch: int) -> None:
        """An epoch begins; they are counted from 0."""
        self._begin = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"epoch {epoch + 1}/{self._epochs}", total=self._batches, loss="")

    def advance(self, loss: float) -> None:
        """A batch is done."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, loss=f"loss {loss:.4g}")

    def end(self, epoch: int, values: Mapping[str, float]) -> None:
        """An epoch is done: its line."""
        if not self._is_shown:
            return
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        line = f"epoch {epoch + 1}/{self._epochs}  {shown}  {time.monotonic() - self._begin:.1f} s"
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


def _bar() -> Any:
    """rich's progress bar; None where rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=Console(stderr=True), transient=True)
