"""A picture of what ``autotune`` has measured: every candidate against the machine's roofline, and the speed-ups."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._algorithm import Machine
from .._backend import Backend
from .._choose import calibration, tuning_cache
from .._choose.tuning_record import TuningRecord
from .._late import late
from .._normalize.tuning import Job, array_bytes
from .._problem import ConvProblem
from . import output
from .summary import Total, title_of, totals
from .tuning_table import common_words, digest, gain_text, number

ROW_INCHES = 0.26
PANEL_INCHES = 7.0
GAINS_INCHES = 3.4
BAR_ROWS = 1.6
"""A bar of a speed-up takes as much height as so many layers."""
WINNER, FLOOR, QUIET = "#d1495b", "#333333", "#c8ccd0"
COLOURS = ("#30638e", "#edae49", "#00798c", "#8d6a9f", "#7fb069", "#7f5539", "#f2a6c2", "#a0a0a0", "#c9a227", "#4f6d7a")

Records = Mapping[ConvProblem, TuningRecord]
Times = Mapping[ConvProblem, float | None]


def check(path: str | None) -> None:
    """ValueError where no picture could be drawn into the file."""
    if path is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib, which is not installed: pip install matplotlib")
    output.check_can_write("--plot", path)
    kinds = late("matplotlib.backend_bases").FigureCanvasBase.get_supported_filetypes()
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind and kind not in kinds:
        raise ValueError(f"--plot: got {path!r}; allowed: a file that ends in one of {', '.join(kinds)}")


def draw(path: str, jobs: Sequence[Job], records: Records, against: Times, backend: Backend) -> None:
    """A panel for each suite and pass, and beside it how many times as fast its convolutions have become."""
    late("matplotlib").use("Agg")
    pyplot = late("matplotlib.pyplot")
    panels: dict[str, list[Job]] = {}
    for job in jobs:
        if job.problem in records and records[job.problem].seconds is not None:
            panels.setdefault(title_of(job), []).append(job)
    if not panels:
        return
    machine, by_title = _machine(backend), totals(jobs, records, against)
    names = [name for name in (a.name for a in backend.algorithms) if _is_timed(name, panels, records)]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    heights = [max(ROW_INCHES * len(group), 1.2) + 0.9 for group in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels),
        2,
        figsize=(PANEL_INCHES + GAINS_INCHES, sum(heights) + 0.7),
        width_ratios=[PANEL_INCHES, GAINS_INCHES],
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for (title, group), (left, right) in zip(panels.items(), axes, strict=True):
        _draw_layers(left, title, group, records, colours, machine)
        _draw_gains(right, by_title[title or "problems"], backend.baseline, len(group))
    handles = [_mark(pyplot, colours[name], "o", name) for name in names]
    handles.append(_mark(pyplot, WINNER, "D", "fastest"))
    handles.append(_mark(pyplot, FLOOR, "|", "roofline of the definition"))
    where = ", ".join(filter(None, [backend.runs_on(next(iter(records.values())).threads), backend.level()]))
    figure.suptitle(f"Every algorithm on every layer ({where})", x=0.01, ha="left", fontsize=14)
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    with output.writing_to(path):
        figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _machine(backend: Backend) -> Machine:
    """The machine's constants: those that are stored, or measured now."""
    return tuning_cache.current(backend).content.machine or calibration.measure_machine(backend)


def roofline_seconds(problem: ConvProblem, threads: int, machine: Machine) -> float:
    """The time of the definition's multiply-adds at the peak rate, or of reading and writing each array once, whichever
    is more. Algorithms that multiply less, and data that lie in cache, may be faster."""
    rates = machine.multiply_adds_per_second
    rate = rates["float64" if problem.dtype in ("float64", "complex128") else "float32"]
    products = problem.multiply_adds * (4 if problem.dtype.startswith("complex") else 1)
    return max(products / rate, array_bytes(problem) / machine.bytes_per_second) / threads


def _is_timed(name: str, panels: Mapping[str, Sequence[Job]], records: Records) -> bool:
    jobs = (job for group in panels.values() for job in group)
    return any(records[job.problem].best_seconds(name) is not None for job in jobs)


def _draw_layers(
    axes: Any, title: str, jobs: Sequence[Job], records: Records, colours: Mapping[str, str], machine: Machine
) -> None:
    """A row a layer: the time of each candidate, the fastest, and the roofline."""
    for row, job in enumerate(jobs):
        record = records[job.problem]
        assert record.seconds is not None
        floor = roofline_seconds(job.problem, record.threads, machine) * 1e3
        axes.plot([floor, record.seconds * 1e3], [row, row], color=QUIET, linewidth=5, solid_capstyle="butt", zorder=1)
        for name, colour in colours.items():
            seconds = record.best_seconds(name)
            if seconds is not None and name != record.algorithm:
                axes.plot(seconds * 1e3, row, "o", color=colour, markersize=5, alpha=0.85, zorder=3)
        axes.plot(floor, row, "|", color=FLOOR, markersize=11, markeredgewidth=2, zorder=2)
        axes.plot(record.seconds * 1e3, row, "D", color=WINNER, markersize=9, zorder=4)
        axes.plot(record.seconds * 1e3, row, "D", color=colours[record.algorithm], markersize=5, zorder=5)
    common = common_words([job.problem for job in jobs])
    labels = [f"{job.layer}  {digest(job.problem, common, job.pass_name)}".strip() for job in jobs]
    axes.set_yticks(range(len(jobs)), labels, fontsize=8)
    axes.set_ylim(len(jobs) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axes.set_xlabel("ms a call")
    axes.grid(axis="x", color="#e6e6e6", zorder=0)
    axes.set_title(title or "problems", loc="left", fontweight="bold")
    _without_frame(axes)


def _draw_gains(axes: Any, total: Total, baseline: str, rows: int) -> None:
    """Bars of how many times as fast all layers together are, as often as each occurs."""
    gains = {f"{baseline}": (total.baseline, total.beside_baseline), "cost model": (total.before, total.tuned)}
    gains["PyTorch"] = (total.against, total.beside_against)
    shown = {name: before / after for name, (before, after) in gains.items() if before and after}
    places = [BAR_ROWS * place for place in range(len(shown))]
    for place, (name, gain) in zip(places, shown.items(), strict=True):
        axes.barh(place, gain, height=1.0, color=WINNER if name == baseline else QUIET, zorder=2)
        axes.text(gain, place, f"  {gain_text(gain, 1.0)}", va="center", fontsize=13, fontweight="bold")
    axes.axvline(1, color=FLOOR, linewidth=1, zorder=3)
    axes.set_yticks(places, shown)
    axes.set_ylim(max(rows, BAR_ROWS * len(shown)) - 0.4, -0.6)
    axes.set_xlim(0, 1.7 * max([1.0, *shown.values()]))
    axes.set_xlabel("times as fast as")
    axes.set_title(f"{total.layers} layers, {number(total.tuned)} ms", loc="left", fontsize=11)
    _without_frame(axes)


def _mark(pyplot: Any, colour: str, marker: str, label: str) -> Any:
    return pyplot.Line2D(
        [], [], color=colour, marker=marker, linestyle="none", label=label, markersize=8, markeredgewidth=2
    )


def _without_frame(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
