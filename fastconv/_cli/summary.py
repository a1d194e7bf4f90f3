"""What tuning has gained, by suite and pass: the time of all convolutions of a network, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._choose.tuning_record import TuningRecord
from .._normalize.tuning import Job
from .._problem import ConvProblem
from .table import Cell, Column, say_table
from .tuning_table import gain_cell, model_of, number, title_of_gain

LAYOUTS = (
    ("title", "layers", "before", "tuned", "model", "baseline", "torch"),
    ("title", "layers", "tuned", "model", "baseline", "torch"),
    ("title", "tuned", "model", "baseline", "torch"),
    ("title", "tuned", "baseline"),
)


@dataclass
class Total:
    """Of the layers of one suite and pass, each as often as it occurs. A gain is over those layers alone on which the
    other time is known."""

    layers: int = 0
    tuned: float = 0.0
    before: float = 0.0
    """With the choices of the cost model."""
    baseline: float = 0.0
    beside_baseline: float = 0.0
    against: float = 0.0
    """PyTorch's time."""
    beside_against: float = 0.0

    def add(self, count: int, record: TuningRecord, against: float | None) -> None:
        """Count a layer that was measured."""
        seconds, model = record.seconds, model_of(record)
        assert seconds is not None
        self.layers += count
        self.tuned += count * seconds
        self.before += count * (seconds if model is None or model.seconds is None else model.seconds)
        if record.baseline_seconds is not None:
            self.baseline += count * record.baseline_seconds
            self.beside_baseline += count * seconds
        if against is not None:
            self.against += count * against
            self.beside_against += count * seconds


Times = Mapping[ConvProblem, float | None]


def totals(jobs: Sequence[Job], records: Mapping[ConvProblem, TuningRecord], against: Times) -> dict[str, Total]:
    """By suite and pass, and of everything where that is more."""
    found: dict[str, Total] = {}
    everything = Total()
    for job in jobs:
        record = records.get(job.problem)
        if record is None or record.seconds is None:
            continue
        title = title_of(job) or "problems"
        for total in (found.setdefault(title, Total()), everything):
            total.add(job.count, record, against.get(job.problem))
    return {**found, "all": everything} if len(found) > 1 else found


def title_of(job: Job) -> str:
    """The suite and the pass."""
    return " ".join(filter(None, [job.suite, job.pass_name]))


def say_summary(by_title: Mapping[str, Total], baseline: str) -> None:
    """Print them as a table."""
    if not by_title:
        return
    columns = {
        "title": Column("total", least=12),
        "layers": Column("layers", is_number=True),
        "before": Column("before ms", is_number=True),
        "tuned": Column("after ms", is_number=True),
        "model": Column("model", 6, is_number=True),
        "baseline": Column(title_of_gain(baseline), 6, is_number=True),
        "torch": Column("torch", 6, is_number=True),
    }
    rows: list[dict[str, Cell]] = []
    for title, total in by_title.items():
        rows.append(
            {
                "title": (title, "bold"),
                "layers": str(total.layers),
                "before": number(total.before),
                "tuned": (number(total.tuned), "bold"),
                "model": gain_cell(total.before, total.tuned),
                "baseline": gain_cell(total.baseline or None, total.beside_baseline),
                "torch": gain_cell(total.against or None, total.beside_against),
            }
        )
    hidden = set() if any(total.against for total in by_title.values()) else {"torch"}
    say_table(columns, [[name for name in layout if name not in hidden] for layout in LAYOUTS], rows)
