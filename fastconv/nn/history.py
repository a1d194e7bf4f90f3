"""The history of a training, and its picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


class History(dict[str, list[float]]):
    """Lists of one number an epoch: "loss", "lr", the metrics, and with validation data "validation_loss"..."""

    def append(self, values: Mapping[str, float]) -> None:
        """Add an epoch's numbers."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, list[float]]:
        """All lists."""
        return dict(self)

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Replace all lists."""
        self.clear()
        self.update({name: list(values) for name, values in state.items()})

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the learning curves to a file, whose ending says of what kind it is.

        One panel for each quantity, training and validation in it, and a mark at the best epoch of the validation.

        Raises
        ------
        ImportError
            Without matplotlib: ``pip install "fastconv[plot]"``.
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import MaxNLocator
        except ImportError as error:
            raise ImportError('a plot wants the package matplotlib: pip install "fastconv[plot]"') from error
        names = [name for name in self if not name.startswith("validation_")]
        figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._draw(axes, name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(os.fspath(path), dpi=120)

    def _draw(self, axes: Any, name: str) -> None:
        """One quantity."""
        values = self[name]
        epochs = range(1, len(values) + 1)
        marker = "." if len(values) < 40 else ""
        axes.plot(epochs, values, color="#1f6fb4", marker=marker, label="training")
        checked = self.get(f"validation_{name}")
        if checked:
            axes.plot(epochs, checked, color="#d9622b", marker=marker, label="validation")
            is_loss = name.endswith("loss")
            best = (min if is_loss else max)(range(len(checked)), key=checked.__getitem__)
            where = best + 1, checked[best]
            axes.plot(*where, "o", color="#d9622b", markersize=8, fillstyle="none")
            # On the side that the curve is not on.
            place = (0, -14 if is_loss else 8)
            axes.annotate(f"{checked[best]:.4g}", where, place, textcoords="offset points", ha="center")
            axes.legend(frameon=False)
        every = [value for value in (*values, *(checked or ())) if value > 0]
        if (name.endswith("loss") or name == "lr") and every and max(every) > 20 * min(every):
            axes.set_yscale("log")
        axes.set(xlabel="epoch", title={"lr": "learning rate"}.get(name, name))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
