"""What ``autotune`` and ``bench`` say about many problems: totals, JSON, a plot."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

from .._backend import Backend
from .._choose.explain import milliseconds
from .._choose.tuning_record import TuningRecord
from .._normalize.tuning import Job
from .._problem import ConvProblem
from . import output

Records = dict[ConvProblem, TuningRecord]


def total(jobs: list[Job], records: Records) -> str:
    """Layers, their time together, that of the baseline, and the gain; of it only over layers that it was timed on."""
    chosen = baseline = compared = 0.0
    layers = 0
    for job in jobs:
        record = records[job.problem]
        assert record.seconds is not None
        layers += job.count
        chosen += job.count * record.seconds
        if record.baseline_seconds is not None:
            baseline += job.count * record.baseline_seconds
            compared += job.count * record.seconds
    name = records[jobs[0].problem].baseline
    against = f"{name} {milliseconds(baseline)}, gain {baseline / compared:.2f}x" if compared else f"{name} -"
    return f"{layers} layers, {milliseconds(chosen)}; {against}"


def write_json(path: str, jobs: list[Job], records: Records, backend: Backend) -> None:
    """All jobs with their records, and the machine."""
    rows = []
    for job in jobs:
        record = records.get(job.problem)
        if record is not None:
            row = {"problem": str(job.problem), "threads": record.threads, **record.to_json()}
            rows.append({"suite": job.suite, "layer": job.layer, "pass": job.pass_name, "count": job.count, **row})
    text = json.dumps({"fingerprint": backend.fingerprint(), "results": rows}, indent=1)
    output.write(path, text + "\n")


def check_files(json_path: str | None, plot_path: str | None = None) -> None:
    """ValueError where what was measured could not be written."""
    if json_path is not None:
        output.check_can_write("--json", json_path)
    if plot_path is not None:
        _check_can_plot()
        output.check_can_write("--plot", plot_path)
        kinds = importlib.import_module("matplotlib.backend_bases").FigureCanvasBase.get_supported_filetypes()
        kind = Path(plot_path).suffix.removeprefix(".").lower()
        if kind and kind not in kinds:
            raise ValueError(f"--plot: got {plot_path!r}; allowed: a file that ends in one of {', '.join(kinds)}")


def _check_can_plot() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib, which is not installed: pip install matplotlib")


def plot(path: str, jobs: list[Job], records: Records) -> None:
    """Bars of the chosen algorithm's and the baseline's time per layer, gains beside them."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    shown = [job for job in jobs if job.problem in records and records[job.problem].seconds is not None]
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.28 * len(shown)))
    for row, job in enumerate(shown):
        record = records[job.problem]
        assert record.seconds is not None
        if record.baseline_seconds is not None:
            axes.barh(row, record.baseline_seconds * 1e3, color="#d0d0d0", label=record.baseline if row == 0 else None)
        axes.barh(row, record.seconds * 1e3, height=0.45, color="#2060a0", label="chosen" if row == 0 else None)
        gain = "" if record.gain is None else f", {record.gain:.1f}x"
        axes.text(
            max(record.seconds, record.baseline_seconds or 0) * 1e3, row, f" {record.algorithm}{gain}", va="center"
        )
    names = [" ".join(filter(None, [job.suite, job.layer, job.pass_name])) or str(job.problem) for job in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("ms")
    axes.legend(loc="lower right")
    figure.tight_layout()
    with output.writing_to(path):
        figure.savefig(path)
    pyplot.close(figure)
