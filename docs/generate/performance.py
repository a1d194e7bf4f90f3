"""Pages of measurements: a page for each file of `bench/results`, whatever kind of rows it has, and one of them all."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench import report
from bench.regret import percentile

from .files import Folder, table
from .pictures.style import COLORS, FAINT, INK

Row = dict[str, Any]
REPOSITORY_FOLDER = "bench/results"
PEERS = ("torch", "torch other layout", "onnxruntime", "openvino", "ncnn", "jax", "opencv")
INTRODUCTION = f"""\
# Performance

Every figure here is a ratio of times that were taken side by side, in turn, warm: **above 1, fastconv is faster**.
The pages are made, when the site is built, of the files in `{REPOSITORY_FOLDER}`; each says what its file knows of the
machine, the level of instructions, the threads and the versions. A peer that is missing from a table was not installed
or does not compute the problem. `python -m bench` takes the measurements again on your machine.
"""


def write(folder: Folder, results: Path) -> None:
    """`performance/NAME.md` for every file, and `performance/index.md`."""
    pages, summaries = [], []
    for path in sorted(results.glob("*.json")):
        content = json.loads(path.read_text())
        title, summary, text = page(folder, path.stem, content)
        folder.write(f"performance/{path.stem}.md", f"# {title}\n\n{machine(content)}\n\n{text}")
        pages.append(path.stem)
        summaries.append((f"[{title}]({path.stem}.md)", summary))
    listing = "\n".join(pages)
    overview = table(("measured", "in short"), summaries, numbers_from=2)
    toctree = f"```{{toctree}}\n:hidden:\n\n{listing}\n```\n"
    folder.write("performance/index.md", f"{INTRODUCTION}\n{overview}\n{toctree}")


def page(folder: Folder, name: str, content: Row) -> tuple[str, str, str]:
    """Title, a sentence, and the text of a page."""
    rows = next(
        (value for value in content.values() if isinstance(value, list) and value and isinstance(value[0], dict)), []
    )
    first = rows[0] if rows else {}
    if "contestants" in first:
        return layers(folder, name, content["facts"], rows)
    if "model" in first and "best_seconds" in first:
        return choices(folder, name, content["facts"], rows)
    if "training" in content:
        return training(rows)
    if "network" in first and "seconds" in first:
        return networks(folder, name, rows)
    return anything(name, rows)


def machine(content: Row) -> str:
    """Where and with what the rows were measured."""
    facts = content.get("facts")
    if not facts or "fingerprint" not in facts:
        return (
            "The file does not name the processor; level of instructions, threads and versions stand beside the rows."
        )
    here = facts["fingerprint"]
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
    variables = ", ".join(f"`{name}={value}`" for name, value in facts.get("environment", {}).items()) or "none"
    threads = sorted({row["threads"] for row in content.get("rows", ()) if "threads" in row})
    lines = [
        ("machine", f"{facts.get('cpu', '')}, family {here['family']}, model {here['model']}; {here['caches']}"),
        ("level of instructions", f"`{here['isa']}`"),
        ("threads", ", ".join(map(str, threads))),
        ("versions", versions),
        ("environment", variables),
        ("commit", f"`{facts.get('commit', '')}`"),
        ("repeat it", "<br>".join(f"`{command}`" for command in content.get("commands", ()))),
    ]
    return table(("", ""), lines, numbers_from=2)


# Layers beside peers.


def layers(folder: Folder, name: str, facts: Row, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Means of every pass over all layers, a picture, every layer."""
    groups = report.grouped(list(rows))
    peers = [peer for peer in PEERS if any(report.ratio(row, peer) for row in rows)]
    peers = [peer for peer in peers if any(peer in row["contestants"] for row in rows)]
    heads = ["geometric mean", "layers", *(named(peer) for peer in peers), "best of them", "slower than the best on"]
    means = []
    for group, found in groups.items():
        best = [ratio for row in found if (ratio := report.best_ratio(row)) is not None]
        slower = sum(ratio < 1 for ratio in best)
        cells = [mean([report.ratio(row, peer) for row in found]) for peer in peers]
        means.append([group, len(found), *cells, mean(best), slower])
    folder.draw(f"pictures/{name}", ratios(groups, peers))
    text = [
        "Time of the peer / time of fastconv, which had nothing prepared or tuned.\n",
        table(heads, means),
        f"```{{image}} ../pictures/{name}.svg\n:alt: ratio to each peer, layer by layer\n:width: 100%\n```\n",
        "A dot is a layer and a peer; left of the line the peer is faster.\n",
        ":::{dropdown} Every layer\n",
        table(("layer", "pass", "algorithm", "ms", *(named(peer) for peer in peers)), every(groups, peers), 3),
        ":::\n",
    ]
    level = facts["fingerprint"]["isa"]
    overall = mean([report.best_ratio(row) for row in rows])
    title = f"Layers: {name.replace('_', ' ')}"
    return (
        title,
        f"{len(rows)} layers and passes at `{level}`; {overall} times as fast as the best peer",
        "\n".join(text),
    )


def named(peer: str) -> str:
    """A peer as the head of a column."""
    return {"torch": "PyTorch", "torch other layout": "PyTorch, better layout"}.get(peer, peer)


def mean(values: Sequence[float | None]) -> str:
    """The geometric mean of those that there are."""
    found = [value for value in values if value is not None]
    return f"{statistics.geometric_mean(found):.2f}" if found else ""


def every(groups: dict[str, list[Row]], peers: Sequence[str]) -> list[list[str]]:
    """A line for each row."""
    lines = []
    for group, found in groups.items():
        for row in found:
            own = row["contestants"]["fastconv"]
            cells = [f"{ratio:.2f}" if (ratio := report.ratio(row, peer)) is not None else "" for peer in peers]
            layer = row["layer"].replace("|", "/")
            lines.append([layer, group, own.get("note", "").partition(" ")[0], f"{own['seconds'] * 1e3:.3f}", *cells])
    return lines


def ratios(groups: dict[str, list[Row]], peers: Sequence[str]) -> Figure:
    """A strip of dots for every pass: a dot is a layer and a peer."""
    shown = {
        group: [peer for peer in peers if any(report.ratio(row, peer) for row in found)]
        for group, found in groups.items()
    }
    heights = [len(names) + 0.6 for names in shown.values()]
    figure = Figure(figsize=(7, 0.7 + 0.34 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    rng = np.random.default_rng(0)
    for axes, (group, found) in zip(panels, groups.items(), strict=True):
        for place, peer in enumerate(shown[group]):
            values = [ratio for row in found if (ratio := report.ratio(row, peer)) is not None]
            jitter = place + rng.uniform(-0.22, 0.22, len(values))
            axes.plot(
                values,
                jitter,
                "o",
                markersize=4,
                alpha=0.6,
                color=COLORS[peers.index(peer) % len(COLORS)],
                markeredgewidth=0,
            )
            if values:
                centre = statistics.geometric_mean(values)
                axes.plot([centre, centre], [place - 0.35, place + 0.35], color=INK, linewidth=1.6)
        axes.set_yticks(range(len(shown[group])), [named(peer) for peer in shown[group]], fontsize=7.5)
        axes.set_ylim(len(shown[group]) - 0.5, -0.5)
        axes.axvline(1, color=INK, linewidth=0.8)
        axes.set_xscale("log")
        axes.grid(axis="x", color=FAINT, alpha=0.3)
        axes.set_title(group, loc="left")
    panels[-1].xaxis.set_major_formatter("{x:g}")
    panels[-1].set_xlabel("time of the peer / time of fastconv; bars: geometric means")
    return figure


# Whole networks.


def networks(folder: Folder, name: str, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Ratios of each network, batch and number of threads."""
    engines = sorted({engine for row in rows for engine in row["seconds"]} - {"fastconv"})
    heads = ["network", "batch", "threads", "fastconv, ms", *engines, "best peer / fastconv"]
    lines = []
    for row in sorted(rows, key=lambda row: (row["network"], row["batch"], row["threads"])):
        own = row["seconds"]["fastconv"]
        others = [f"{row['seconds'][engine] / own:.2f}" if engine in row["seconds"] else "" for engine in engines]
        lines.append([row["network"], row["batch"], row["threads"], f"{own * 1e3:.1f}", *others, f"{row['ratio']:.2f}"])
    folder.draw(f"pictures/{name}", bars(rows))
    picture = f"```{{image}} ../pictures/{name}.svg\n:alt: ratio to the best peer for each network\n:width: 100%\n```\n"
    text = (
        '`nn.compile(model, shape, effort="measure")` beside the fastest of the other engines, float32, random weights.'
        f"\n\n{picture}\n{table(heads, lines)}\n{versions(rows)}"
    )
    best = max(rows, key=lambda row: row["ratio"])
    worst = min(rows, key=lambda row: row["ratio"])
    ends = [f"{row['network']} {row['ratio']:.2f}" for row in (best, worst)]
    short = f"{' to '.join(ends)} times as fast as the best peer"
    return "Whole networks: inference", short, text


def bars(rows: Sequence[Row]) -> Figure:
    """A bar for each network, batch and number of threads."""
    cases = sorted({(row["batch"], row["threads"]) for row in rows})
    by_case = {(row["network"], row["batch"], row["threads"]): row["ratio"] for row in rows}
    names = sorted(
        {row["network"] for row in rows}, key=lambda name: -max(r["ratio"] for r in rows if r["network"] == name)
    )
    figure = Figure(figsize=(7, 0.8 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(cases)
    for number, (batch, threads) in enumerate(cases):
        places = np.arange(len(names)) - 0.4 + height * (number + 0.5)
        values = [by_case.get((name, batch, threads), 0) for name in names]
        words = f"batch {batch}, {threads} thread{'s' * (threads > 1)}"
        axes.barh(places, values, height * 0.92, color=COLORS[number % len(COLORS)], label=words)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("time of the best peer / time of fastconv")
    axes.legend(frameon=False, fontsize=8)
    return figure


def training(rows: Sequence[Row]) -> tuple[str, str, str]:
    """A step of training beside PyTorch's."""
    heads = ["network", "batch", "threads", "PyTorch's faster layout / fastconv", "our peak memory / PyTorch's"]
    lines = []
    for row in rows:
        memory = row.get("peak_bytes")
        theirs = min(value for name, value in memory.items() if name != "fastconv") if memory else 1
        share = f"{memory['fastconv'] / theirs:.0%}" if memory else ""
        lines.append([row["network"], row["batch"], row["threads"], f"{row['ratio']:.2f}", share])
    ratios_found = [row["ratio"] for row in rows]
    short = f"{min(ratios_found):.2f} to {max(ratios_found):.2f} times as fast as PyTorch's faster layout"
    text = f"One step: forward, backward, optimizer; tuned.\n\n{table(heads, lines)}\n{versions(rows)}"
    return "Whole networks: training", short, text


def versions(rows: Sequence[Row]) -> str:
    """Level and versions of rows that carry their own."""
    levels = ", ".join(f"`{level}`" for level in sorted({row["isa"] for row in rows if "isa" in row}))
    found = rows[0].get("versions", {})
    return f"Level of instructions {levels}; {', '.join(f'{name} {value}' for name, value in found.items())}.\n"


# How good choices are.


def choices(folder: Folder, name: str, facts: Row, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Regret of the cost model and of the tuner."""
    kinds = {"cost model": "model", "after `fastconv autotune`": "tuned"}
    lines, drawn = [], {}
    for title, key in kinds.items():
        values = [row[key]["regret"] for row in rows if row.get(key)]
        if values:
            drawn[title.replace("`", "")] = values
            shown = [statistics.median(values), percentile(values, 0.95), max(values)]
            lines.append([title, len(values), *(f"{value:.2f}" for value in shown)])
    folder.draw(f"pictures/{name}", curves(drawn))
    text = [
        "Time of what was chosen / time of the fastest algorithm that was tried, on random problems in all three",
        "directions that no cost model was fitted to.\n",
        table(("chosen by", "problems", "median", "95th percentile", "maximum"), lines),
        f"```{{image}} ../pictures/{name}.svg\n:alt: distribution of the regret\n:width: 80%\n```\n",
    ]
    level = facts["fingerprint"]["isa"]
    short = f"at `{level}`: median {lines[0][2]}, 95th percentile {lines[0][3]}" if lines else ""
    return f"Choices: {name.removeprefix('regret_').replace('_', ' ')}", short, "\n".join(text)


def curves(drawn: dict[str, list[float]]) -> Figure:
    """Share of problems whose regret is at most so much."""
    figure = Figure(figsize=(5.6, 2.9), layout="constrained")
    axes = figure.subplots()
    for number, (title, values) in enumerate(drawn.items()):
        ordered = np.sort(values)
        axes.step(
            ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=COLORS[number], label=title
        )
    axes.set_xlabel("regret")
    axes.set_ylabel("share of problems")
    axes.set_ylim(0, 1.02)
    axes.grid(color=FAINT, alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


# Anything else.


def anything(name: str, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Rows as they are: what is a number or a word in any of them."""
    flat = [flattened(row) for row in rows]
    heads = list(dict.fromkeys(key for row in flat for key in row))
    lines = [[shown(row.get(head, "")) for head in heads] for row in flat]
    text = table(heads, lines) if heads else "No rows.\n"
    return name.replace("_", " "), f"{len(rows)} rows", text


def flattened(row: Row, before: str = "") -> Row:
    """Words and numbers of a row, those of dictionaries in it by joined names; versions left out."""
    found: Row = {}
    for key, value in row.items():
        if isinstance(value, dict) and key != "versions":
            found |= flattened(value, f"{before}{key} ")
        elif isinstance(value, (int, float, str, bool)):
            found[f"{before}{key}".replace("_", " ")] = value
    return found


def shown(value: object) -> str:
    """A cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
