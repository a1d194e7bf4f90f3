"""Rows of a comparison as a table on the terminal, in markdown, and as a plot; ``python -m bench show``."""

from __future__ import annotations

import argparse
import importlib
import statistics
from collections.abc import Sequence
from pathlib import Path

from fastconv.suites.layers import PASSES

from .peers import OWN, PEERS
from .results import Results, Row, path_of

BASE = OWN[0].name
OWN_NAMES = [peer.name for peer in OWN]
RIVALS = [peer.name for peer in PEERS if peer.is_rival]
LAYER_WIDTH = 26
LEGEND = (
    "Columns of peers: their time / that of the plain call; best: of the best in this layout. packed, tuned: times "
    "faster than the plain call.\nroof: share of what the machine's multiply-add peak and copy bandwidth allow the "
    "definition. error: largest error / largest exact result, ours and the best peer's."
)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How rows are shown besides the table."""
    parser.add_argument("--markdown", action="store_true", help="print the table in markdown, too")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios (needs matplotlib)")


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("show", help="print results again", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="bench/results/NAME.json, or a path with /")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    rows = []
    for name in arguments.names:
        results = Results.read(path_of(name))
        print(results.heading())
        rows += results.rows
    names = [name for name in [*OWN_NAMES, *(peer.name for peer in PEERS)] if any(_cell(row, name) for row in rows)]
    table = Table(names)
    print(table.head())
    for row in rows:
        print(table.line(row))
    print(table.summary())
    write_outputs(arguments, rows)
    return 0


def write_outputs(arguments: argparse.Namespace, rows: Sequence[Row]) -> None:
    """What ``add_output_options`` asks for."""
    if arguments.markdown:
        print(f"\n{markdown(rows)}")
    if arguments.plot:
        plot(rows, Path(arguments.plot))


class Table:
    """Lines of text, each printed as soon as it is known."""

    def __init__(self, names: Sequence[str]) -> None:
        self.rows: list[Row] = []
        self._own = [name for name in names if name in OWN_NAMES and name != BASE]
        self._peers = [name for name in names if name not in OWN_NAMES]
        heads = ["ms", "roof", *self._own, *map(_head, self._peers), "best"]
        self._widths = [max(9, len(head) + 1) for head in heads]
        self._heads = heads

    def head(self) -> str:
        """The line of heads."""
        cells = "".join(f"{head:>{width}s}" for head, width in zip(self._heads, self._widths, strict=True))
        return f"{'layer':{LAYER_WIDTH}s} {'pass':8s}{cells}   error (best's)   algorithm"

    def line(self, row: Row) -> str:
        """One row, which is kept for the summary."""
        self.rows.append(row)
        base = row["contestants"][BASE]
        cells = [f"{base['seconds'] * 1e3:.3f}", f"{row['roofline']['share']:.0%}"]
        cells += [_number(gain(row, name)) for name in self._own]
        cells += [_number(ratio(row, name)) for name in self._peers]
        cells += [_number(best_ratio(row))]
        text = "".join(f"{cell:>{width}s}" for cell, width in zip(cells, self._widths, strict=True))
        errors = f"{_error(row, BASE)} {_error(row, row['best'])}"
        return f"{row['layer'][:LAYER_WIDTH]:{LAYER_WIDTH}s} {row['pass']:8s}{text}   {errors}   {base.get('note', '')}"

    def summary(self) -> str:
        """Geometric means of every pass, and the layers that a peer is faster on."""
        lines = []
        for name, rows in by_pass(self.rows).items():
            cells = ["", ""]
            cells += [_mean(gain(row, own) for row in rows) for own in self._own]
            cells += [_mean(ratio(row, peer) for row in rows) for peer in self._peers]
            cells += [_mean(best_ratio(row) for row in rows)]
            text = "".join(f"{cell:>{width}s}" for cell, width in zip(cells, self._widths, strict=True))
            lines.append(f"{'geometric mean':{LAYER_WIDTH}s} {name:8s}{text}")
            slower = [row for row in rows if (best_ratio(row) or 1) < 1]
            slower.sort(key=lambda row: best_ratio(row) or 1)
            if slower:
                words = ", ".join(f"{row['layer']} {best_ratio(row):.2f} {row['best']}" for row in slower)
                lines.append(f"  below 1 ({len(slower)} of {len(rows)}): {words}")
        return "\n".join([*lines, LEGEND])


def ratio(row: Row, name: str | None) -> float | None:
    """Contestant's time / that of the plain call; None where it has none."""
    found = _cell(row, name or "").get("ratio")
    return None if found is None else float(found)


def gain(row: Row, name: str) -> float | None:
    """How many times faster than the plain call another form of fastconv is."""
    found = ratio(row, name)
    return None if found is None else 1 / found


def best_ratio(row: Row) -> float | None:
    """Of the best of the peers."""
    return ratio(row, row["best"])


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers, one at least."""
    return statistics.geometric_mean(values)


def by_pass(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows under the names of their passes, in the order of PASSES."""
    return {name: found for name in PASSES if (found := [row for row in rows if row["pass"] == name])}


def markdown(rows: Sequence[Row]) -> str:
    """Ratios of all layers, one column per pass for each of torch and the best of the peers, with geometric means."""
    passes = by_pass(rows)
    heads = [f"{name} {column}" for name in passes for column in ("/ torch", "/ best", "% of roof")]
    lines = [f"| layer | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    by_layer = {row["layer"]: row for row in rows}
    for layer in by_layer:
        cells = []
        for found in passes.values():
            row = next((row for row in found if row["layer"] == layer), None)
            cells += ["", "", ""] if row is None else _markdown_cells(row)
        lines.append(f"| {layer} | {' | '.join(cells)} |")
    cells = []
    for found in passes.values():
        cells += [_mean(ratio(row, "torch") for row in found), _mean(map(best_ratio, found)), ""]
    lines.append(f"| **geometric mean** | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of the ratio to the best of the peers with a dot for each peer, one panel per pass."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    passes = by_pass(rows)
    height = 1.5 + 0.24 * max(map(len, passes.values()))
    figure, panels = pyplot.subplots(1, len(passes), figsize=(7 * len(passes), height), squeeze=False)
    for axes, (name, found) in zip(panels[0], passes.items(), strict=True):
        places = range(len(found))
        axes.barh(places, [best_ratio(row) or 0 for row in found], color="#b8cce4", label="best of the peers")
        for peer in RIVALS:
            points = [(value, place) for place, row in enumerate(found) if (value := ratio(row, peer)) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o", markersize=3.5, label=peer)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yticks(places, [row["layer"] for row in found], fontsize=7)
        axes.invert_yaxis()
        axes.set_title(f"{name}: time of the peer / time of fastconv")
        axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _markdown_cells(row: Row) -> list[str]:
    best = best_ratio(row)
    text = "" if best is None else f"{best:.2f} {row['best']}"
    return [_number(ratio(row, "torch")), text, f"{row['roofline']['share']:.0%}"]


def _cell(row: Row, name: str) -> Row:
    found: Row = row["contestants"].get(name, {})
    return found


def _head(name: str) -> str:
    return name.replace("other layout", "other")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _error(row: Row, name: str | None) -> str:
    error = _cell(row, name or "").get("error")
    return "-      " if error is None else f"{error:.1e}"


def _mean(values: object) -> str:
    found = [value for value in values if value is not None]  # type: ignore[attr-defined]
    return f"{geometric_mean(found):.2f}" if found else "-"
