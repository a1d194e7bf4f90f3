"""What the library itself says of its algorithms: facts of each, and which one the cost model takes where."""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import fastconv
from fastconv import ConvProblem, suites
from fastconv._algorithm import Algorithm
from fastconv._backend import CPU
from fastconv._choose.select import PRECISION_LIMITS
from fastconv.suites.layers import PASSES, problem_of_pass

from .files import Folder, table

KERNELS = (1, 2, 3, 5, 7, 9, 11, 15, 21, 31, 45, 63)
CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256)
SAMPLES = (
    "forward 8x64x56x56 64x64x3x3 p1 float32",
    "forward 8x64x56x56 64x1x3x3 p1 g64 float32",
    "forward 8x64x56x56 64x1x3x3 p1 g64 float32 channels_last",
    "forward 8x64x56x56 64x4x3x3 p1 g16 float32",
    "backward_input 8x3x112x112 64x3x7x7 s2 p3 float32",
    "forward 8x3x112x112 64x3x7x7 s2 p3 float32",
)
"""Problems that facts are asked about; each algorithm takes the first that it supports."""


def write(folder: Folder) -> None:
    """A table of facts for each algorithm, `algorithms/NAME.md`, and the maps of choices."""
    chosen = chosen_layers()
    for algorithm in CPU.algorithms:
        folder.write(f"algorithms/{algorithm.name}.md", facts(algorithm, chosen[algorithm.name]))
    names = [algorithm.name for algorithm in CPU.algorithms]
    for layout in ("NCHW", "NHWC"):
        folder.draw(f"pictures/choices_{layout.lower()}", choices(layout, names))
    folder.write("algorithms/where.md", f"at `{CPU.fingerprint()['isa']}`, on one thread, with nothing tuned.\n")


def chosen_layers() -> dict[str, list[str]]:
    """For each algorithm the layers of the suites that it is chosen for, with their pass."""
    found = defaultdict(list)
    for name in suites.NAMES:
        for layer in suites.suite(name).layers:
            for direction in PASSES:
                problem = problem_of_pass(layer.problem, direction)
                plan = fastconv.explain(problem, threads=1).plan
                found[plan.algorithm.name].append(f"{name} {direction}")
    return found


def facts(algorithm: Algorithm, layers: list[str]) -> str:
    """A table in markdown."""
    samples = (ConvProblem.parse(text) for text in SAMPLES)
    problem = next(problem for problem in samples if algorithm.supports(problem))
    bound = algorithm.error_bound(problem)
    levels = [f'"{name}"' for name, limit in PRECISION_LIMITS.items() if bound.relative <= limit]
    levels = ['"ieee"'] * (bound.elementwise is not None) + levels
    parameters = algorithm.parameters(problem)
    names = ", ".join(f"`{name}`" for name in parameters[0]) or "none"
    counts = Counter(layer.rpartition(" ")[2] for layer in layers)
    spread = ", ".join(f"{counts[name]} {name}" for name in PASSES if counts[name]) or "none"
    kind = "elementwise" if bound.elementwise is not None else "by norms"
    rows = [
        ("computes natively", ", ".join(sorted(algorithm.dtypes))),
        ("exact on small integers", "yes" if algorithm.exact_on_integers else "no"),
        ("error bound", f"{kind}; on usual data {bound.relative:.1e} of the largest result"),
        ("for", f"`{problem}`"),
        ("precision levels", ", ".join(levels)),
        ("parameters that are tuned", f"{names}; {len(parameters)} sets here" if parameters[0] else names),
        ("chosen for layers of the suites", spread),
    ]
    summary = " ".join((inspect.getdoc(type(algorithm)) or "").partition("\n\n")[0].split())
    return f"{summary}\n\n" + table(("", ""), rows, numbers_from=2)


def choices(layout: str, names: list[str]) -> Figure:
    """A map: the kernel's size along, channels up, coloured by what the cost model chooses."""
    grid = np.array([[names.index(choice(channels, kernel, layout)) for kernel in KERNELS] for channels in CHANNELS])
    used = sorted(set(grid.ravel()))
    palette = ListedColormap([matplotlib.colormaps["tab20"](number) for number in range(len(names))])
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(grid, cmap=palette, edgecolors="white", vmin=-0.5, vmax=len(names) - 0.5)
    axes.set_xticks(np.arange(len(KERNELS)) + 0.5, [f"{k}" for k in KERNELS])
    axes.set_yticks(np.arange(len(CHANNELS)) + 0.5, [str(c) for c in CHANNELS])
    axes.set_xlabel("k, of a kernel of k x k")
    axes.set_ylabel("channels, and filters")
    axes.set_title(f"{layout}, one image of 128 x 128, float32, at {CPU.fingerprint()['isa']}")
    legend = [Patch(color=palette(index), label=names[index]) for index in used]
    figure.legend(handles=legend, loc="outside right center", frameon=False, fontsize=8)
    return figure


def choice(channels: int, kernel: int, layout: str) -> str:
    """The algorithm that the cost model takes for a dense layer."""
    words = "" if layout == "NCHW" else " channels_last"
    text = f"forward 1x{channels}x128x128 {channels}x{channels}x{kernel}x{kernel} p{kernel // 2} float32{words}"
    return fastconv.explain(text, threads=1).plan.algorithm.name
