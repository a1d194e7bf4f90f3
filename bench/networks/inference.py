"""``python -m bench networks``: time of whole networks' inference, beside the engines that people deploy.

Random weights and images, float32. All engines take turns in one process, each with a few calls of which the first one
warms the caches up and is not counted; figures are medians. A row is one network, batch and number of threads; what a
file of rows has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import nn
from fastconv._cpu.engine import runtime

from ..timing import settling
from .engines import ENGINES, Run, versions

NETWORKS = {
    "resnet50": ((3, 224, 224), 1.3, 1.5),
    "vgg16": ((3, 224, 224), 1.3, 1.5),
    "unet": ((1, 256, 256), 1.3, 1.5),
    "mobilenet_v2": ((3, 224, 224), 1.0, 1.2),
    "efficientnet_b0": ((3, 224, 224), 1.0, 1.2),
    "convnext_tiny": ((3, 224, 224), 1.0, 1.2),
}
"""The shape of an image, and the targets for one and for eight: times of the best other engine over fastconv's."""
CALLS = 4
"""In a row, besides the first."""
ROUNDS = 40
SAME = 1e-3
"""Results that differ by more of the largest are of two networks."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the part."""
    parser.add_argument("--seconds", type=float, default=30.0, help="of one row's calls (default: 30)")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE", help="of all")
    parser.add_argument("--models", metavar="FOLDER", default="build/networks", help="for exported ONNX files")
    parser.add_argument("--plot", metavar="FILE", help="draw the rows of --json")


def run(names: list[str], batches: list[int], threads: list[int], arguments: argparse.Namespace) -> int:
    """Print a table, and write JSON and a picture where those are asked for."""
    file = None if arguments.json is None else Path(arguments.json)
    known = json.loads(file.read_text()) if file is not None and file.exists() else {"rows": []}
    rows: list[dict[str, Any]] = known["rows"]
    done = {(row["network"], row["batch"], row["threads"]): row for row in rows}
    engines = arguments.engines
    print("| network | batch | threads | " + " | ".join(f"{name} ms" for name in engines) + " | best / fastconv |")
    print("|---" * (4 + len(engines)) + "|")
    for name in names or NETWORKS:
        for batch in batches:
            for each in threads:
                row = done.get((name, batch, each))
                if row is None:
                    row = measure(name, batch, each, arguments)
                    rows.append(row)
                    if file is not None:
                        file.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
                print(shown(row, engines), flush=True)
    if arguments.plot is not None:
        plot(rows, arguments.plot)
    return 0


def measure(name: str, batch: int, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The times of all engines. ValueError where they do not compute the same."""
    shape = (batch, *NETWORKS[name][0])
    nn.seed(0)
    model = nn.networks.build(name).eval()
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    path = Path(arguments.models) / f"{name}_{batch}.onnx"
    runs = {engine: ENGINES[engine](model, path, x, threads) for engine in arguments.engines}
    check(name, runs)
    samples = contest(runs, arguments.seconds, threads)
    seconds = {engine: statistics.median(each) for engine, each in samples.items()}
    others = {engine: each for engine, each in seconds.items() if engine != "fastconv"}
    best = min(others, key=lambda engine: others[engine]) if others else None
    return {
        "network": name,
        "batch": batch,
        "threads": threads,
        "shape": shape,
        "isa": runtime.isa(),
        "seconds": seconds,
        "samples": {engine: len(each) for engine, each in samples.items()},
        "best": best,
        "ratio": None if best is None or "fastconv" not in seconds else seconds[best] / seconds["fastconv"],
        "target": NETWORKS[name][1 if batch < 8 else 2],
        "versions": versions(),
    }


def check(name: str, runs: dict[str, Run]) -> None:
    """Whether all compute the same; their first calls."""
    results = {engine: np.array(run()) for engine, run in runs.items()}
    first, *others = results
    for engine in others:
        off = np.abs(results[engine] - results[first]).max() / max(np.abs(results[first]).max(), 1e-30)
        if not off <= SAME:
            raise ValueError(f"{name}: the results of {engine} and {first} differ by {off:.1e} of the largest")


def contest(runs: dict[str, Run], seconds: float, threads: int) -> dict[str, list[float]]:
    """Samples of all, in rounds, every other one backwards; three at least of each."""
    samples: dict[str, list[float]] = {engine: [] for engine in runs}
    end = time.perf_counter() + seconds
    for number in range(ROUNDS):
        for engine, run in sorted(runs.items(), reverse=number % 2 == 1):
            time.sleep(settling(threads))
            run()
            for _ in range(CALLS):
                start = time.perf_counter()
                run()
                samples[engine].append(time.perf_counter() - start)
                if time.perf_counter() > end and len(samples[engine]) >= 3:
                    break
        if time.perf_counter() > end and min(map(len, samples.values())) >= 3:
            break
    return samples


def shown(row: dict[str, Any], engines: list[str]) -> str:
    """A line of the table."""
    times = " | ".join(f"{row['seconds'][name] * 1e3:.2f}" if name in row["seconds"] else "-" for name in engines)
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return f"| {row['network']} | {row['batch']} | {row['threads']} | {times} | {ratio} |"


def plot(rows: list[dict[str, Any]], file: str) -> None:
    """Bars: how many times as fast fastconv is as each other engine."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = sorted({(row["batch"], row["threads"]) for row in rows})
    figure, grid = pyplot.subplots(len(kinds), 1, figsize=(11, 3 * len(kinds)), squeeze=False)
    for (axes,), (batch, threads) in zip(grid, kinds, strict=True):
        chosen = [row for row in rows if (row["batch"], row["threads"]) == (batch, threads)]
        others = [name for name in ENGINES if name != "fastconv"]
        for place, engine in enumerate(others):
            values = [row["seconds"].get(engine, np.nan) / row["seconds"]["fastconv"] for row in chosen]
            axes.bar(np.arange(len(chosen)) + (place - 2) * 0.16, values, 0.15, label=engine)
        axes.plot(np.arange(len(chosen)), [row["target"] for row in chosen], "k_", markersize=40, label="target")
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.set_xticks(np.arange(len(chosen)), [row["network"] for row in chosen])
        axes.set_ylim(0, 4)
        axes.set_title(f"times of fastconv's: batch {batch}, {threads} thread{'s' * (threads > 1)}", fontsize=10)
    grid[0][0].legend(ncols=6, fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
