"""Rows of a comparison as a table on the terminal, in markdown, and as a plot; ``python -m bench show``."""

from __future__ import annotations

import argparse
import importlib
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastconv import ConvProblem
from fastconv.suites.layers import PASSES

from .peers import OWN, PEERS
from .results import Results, Row, path_of

BASE = OWN[0].name
OWN_NAMES = [peer.name for peer in OWN]
RIVALS = [peer.name for peer in PEERS if peer.is_rival]
TORCH, TORCH_OTHER = "torch", "torch other layout"
HEADS = {TORCH_OTHER: "torch any"}
LAYER_WIDTH, GROUP_WIDTH = 26, 12
LEGEND = (
    "Columns of peers: their time / that of the plain call; best: of the best in this layout; torch any: of torch "
    "in its better layout.\npacked, tuned, +bias+relu: times faster than the plain call. roof: share of what the "
    "machine's multiply-add peak and copy bandwidth allow the definition.\nerror: largest error / largest exact "
    "result, ours and the best peer's."
)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """How rows are shown besides the table."""
    parser.add_argument("--markdown", action="store_true", help="print the table in markdown, too")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios (needs matplotlib)")


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("show", help="print results, those of several files together", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="bench/results/NAME.json, or a path with /")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    together = Results({})
    for name in arguments.names:
        results = Results.read(path_of(name))
        if not all("contestants" in row for row in results.rows):
            raise ValueError(f"{name} compares nobody; its rows are those of {results.commands[0]}")
        print(results.heading())
        for row in results.rows:
            together.add(row)
    rows = together.rows
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
        heads = ["ms", "roof", *self._own, *(HEADS.get(name, name) for name in self._peers), "best"]
        self._widths = [max(9, len(head) + 1) for head in heads]
        self._heads = heads

    def head(self) -> str:
        """The line of heads."""
        return f"{self._joined('layer', 'pass', self._heads)}   error (best's)   algorithm"

    def line(self, row: Row) -> str:
        """One row, which is kept for the summary."""
        self.rows.append(row)
        base = row["contestants"][BASE]
        cells = [f"{base['seconds'] * 1e3:.3f}", f"{row['roofline']['share']:.0%}"]
        cells += [_number(gain(row, name)) for name in self._own]
        cells += [_number(ratio(row, name)) for name in self._peers]
        cells += [_number(best_ratio(row))]
        errors = f"{_error(row, BASE)} {_error(row, row['best'])}"
        return f"{self._joined(row['layer'], group(row), cells)}   {errors}   {base.get('note', '')}"

    def summary(self) -> str:
        """Geometric means of every group, and the layers that a peer is faster on."""
        lines = []
        for name, rows in grouped(self.rows).items():
            cells = ["", ""]
            cells += [_mean(gain(row, own) for row in rows) for own in self._own]
            cells += [_mean(ratio(row, peer) for row in rows) for peer in self._peers]
            cells += [_mean(best_ratio(row) for row in rows)]
            lines.append(self._joined("geometric mean", name, cells))
            slower = [row for row in rows if (best_ratio(row) or 1) < 1]
            slower.sort(key=lambda row: best_ratio(row) or 1)
            if slower:
                words = ", ".join(f"{row['layer']} {best_ratio(row):.2f} {row['best']}" for row in slower)
                lines.append(f"  below 1 ({len(slower)} of {len(rows)}): {words}")
        return "\n".join([*lines, LEGEND])

    def _joined(self, layer: str, group: str, cells: Sequence[str]) -> str:
        text = "".join(f"{cell:>{width}s}" for cell, width in zip(cells, self._widths, strict=True))
        return f"{layer[:LAYER_WIDTH]:{LAYER_WIDTH}s} {group:{GROUP_WIDTH}s}{text}"


def ratio(row: Row, name: str | None) -> float | None:
    """Contestant's time / that of the plain call; None where it has none. Torch's other layout: its better one."""
    names = (TORCH, TORCH_OTHER) if name == TORCH_OTHER else (name or "",)
    found = [float(cell["ratio"]) for cell in (_cell(row, each) for each in names) if "ratio" in cell]
    return min(found, default=None)


def gain(row: Row, name: str) -> float | None:
    """How many times faster than the plain call another form of fastconv is."""
    found = ratio(row, name)
    return None if found is None else 1 / found


def best_ratio(row: Row) -> float | None:
    """The ratio of the best peer."""
    return ratio(row, row["best"])


def group(row: Row) -> str:
    """What a row's mean is taken over: its pass, and layout, dtype and threads where they are not the usual ones."""
    problem = ConvProblem.parse(row["problem"])
    words = [
        row["pass"],
        "NHWC" if problem.layout == "channels_last" else "",
        "" if problem.dtype == "float32" else problem.dtype,
        "" if row["threads"] == 1 else f"{row['threads']} threads",
    ]
    return " ".join(filter(None, words))


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows under the names of their groups, in the order of PASSES."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: PASSES.index(row["pass"])):
        found.setdefault(group(row), []).append(row)
    return found


def markdown(rows: Sequence[Row]) -> str:
    """Per layer and group the ratios to torch and to the best of the peers, and the share of the roofline."""
    groups = grouped(rows)
    heads = [f"{name}: {column}" for name in groups for column in ("torch", "best peer", "roof")]
    lines = [f"| layer | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for layer in dict.fromkeys(row["layer"] for row in rows):
        cells = []
        for found in groups.values():
            row = next((row for row in found if row["layer"] == layer), None)
            cells += ["", "", ""] if row is None else _markdown_cells(row)
        lines.append(f"| {layer} | {' | '.join(cells)} |")
    cells = []
    for found in groups.values():
        cells += [_mean(ratio(row, TORCH) for row in found), _mean(map(best_ratio, found)), ""]
    lines.append(f"| **geometric mean** | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of the ratio to the best of the peers with a dot for each, one panel per group."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    groups = grouped(rows)
    height = 1.5 + 0.24 * max(map(len, groups.values()))
    figure, panels = pyplot.subplots(
        1, len(groups), figsize=(7 * len(groups), height), squeeze=False, layout="constrained"
    )
    drawn = {}
    for axes, (name, found) in zip(panels[0], groups.items(), strict=True):
        places = range(len(found))
        axes.barh(places, [best_ratio(row) or 0 for row in found], color="#d8e0ea")
        for number, peer in enumerate(RIVALS):
            points = [(value, place) for place, row in enumerate(found) if (value := ratio(row, peer)) is not None]
            if points:
                (drawn[peer],) = axes.plot(*zip(*points, strict=True), "o", markersize=4, color=f"C{number}")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yticks(places, [row["layer"] for row in found], fontsize=7)
        axes.invert_yaxis()
        axes.set_title(f"{name}: time of the peer / time of fastconv")
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=len(RIVALS))
    figure.savefig(path)
    pyplot.close(figure)


def _markdown_cells(row: Row) -> list[str]:
    best = best_ratio(row)
    text = "" if best is None else f"{best:.2f} {row['best']}"
    return [_number(ratio(row, TORCH)), text, f"{row['roofline']['share']:.0%}"]


def _cell(row: Row, name: str) -> Row:
    found: Row = row["contestants"].get(name, {})
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _error(row: Row, name: str | None) -> str:
    error = _cell(row, name or "").get("error")
    return "-      " if error is None else f"{error:.1e}"


def _mean(values: Iterable[float | None]) -> str:
    """The geometric mean of those that there are."""
    found = [value for value in values if value is not None]
    return f"{statistics.geometric_mean(found):.2f}" if found else "-"
