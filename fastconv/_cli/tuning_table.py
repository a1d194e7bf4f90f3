"""The table of ``fastconv autotune``: a row a problem, with what won, its time and its gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._backend import Backend
from .._choose.tuning_record import Timing, TuningRecord
from .._normalize.tuning import Job
from .._problem import DIRECTIONS, ConvProblem
from ..suites.layers import PASSES
from .table import Cell, Column, Table
from .terminal import Line

GAINS = "ms", "baseline", "model"
LAYOUTS = (
    ("layer", "problem", "winner", *GAINS, "torch", "runner_up", "note"),
    ("layer", "short", "winner", *GAINS, "torch", "runner_up", "note"),
    ("layer", "digest", "winner", *GAINS, "torch", "runner_up"),
    ("name", "digest", "winner", *GAINS, "torch", "second"),
    ("name", "brief", "winner", *GAINS, "torch"),
    ("name", "winner", *GAINS, "torch"),
    ("name", "winner", "ms", "baseline"),
    ("name", "winner", "ms"),
)
LAYOUTS_WITHOUT_LAYERS = (
    ("problem", "winner", *GAINS, "torch", "runner_up", "note"),
    ("short", "winner", *GAINS, "torch", "runner_up", "note"),
    ("digest", "winner", *GAINS, "torch", "second"),
    ("brief", "winner", *GAINS, "torch"),
    ("brief", "winner", "ms"),
)
LEAST_BRIEF = 18
LEAST_NAME = 14
LONGEST_TITLE = 8
DIRECTION_OF_PASS: dict[str | None, str] = dict(zip(PASSES, DIRECTIONS, strict=True))


class TuningTable:
    """What the rows have in common is left out of the problems' texts where the terminal is too narrow for them."""

    def __init__(self, jobs: Sequence[Job], backend: Backend, width: int | None, against: bool = False) -> None:
        self._common = common_words([job.problem for job in jobs])
        first = [(self._cells_of(job), job.problem) for job in jobs]
        winners = [a.name for a in backend.algorithms if any(backend.accepts(a, problem) for _, problem in first)]
        winner = max(map(len, winners), default=0)
        texts = {name: max(len(cells[name]) for cells, _ in first) for name in first[0][0]}
        baseline = title_of_gain(backend.baseline)
        self.legend = (
            f"times as fast as {backend.baseline}{'' if baseline == backend.baseline else ' (baseline)'}, as the cost "
            f"model's choice (model){' and as PyTorch (torch)' if against else ''}"
        )
        """What the gains are over, in words."""
        columns = {
            "layer": Column("layer", texts["layer"]),
            "name": Column("layer", texts["name"], least=LEAST_NAME),
            "problem": Column("problem", texts["problem"]),
            "short": Column("problem", texts["short"]),
            "digest": Column("problem", texts["digest"]),
            "brief": Column("problem", texts["digest"], least=LEAST_BRIEF),
            "winner": Column("fastest", winner),
            "ms": Column("ms", 6, is_number=True),
            "baseline": Column(baseline, 6, is_number=True),
            "model": Column("model", 5, is_number=True),
            "torch": Column("torch", 6, is_number=True),
            "runner_up": Column("runner-up", winner + 8),
            "second": Column("runner-up", winner),
            "note": Column("", len("estimated")),
        }
        layouts = LAYOUTS if any(job.layer for job in jobs) else LAYOUTS_WITHOUT_LAYERS
        hidden = set() if against else {"torch"}
        self._table = Table(columns, [[name for name in layout if name not in hidden] for layout in layouts], width)

    @property
    def common(self) -> str:
        """What all problems have in common, in words."""
        return ", ".join(self._common)

    def header(self) -> Line:
        """The titles."""
        return self._table.header()

    def row(self, record: TuningRecord, job: Job, stored: bool, against: float | None = None) -> Line:
        """One problem that is done; ``against`` is PyTorch's time."""
        winner, model = winner_of(record), model_of(record)
        seconds, base = record.seconds, record.baseline_seconds
        before, is_estimate = None if model is None else model.seconds, record.seconds is None
        if is_estimate and winner is not None:
            seconds = winner.estimate_seconds
            base = min((t.estimate_seconds for t in record.timings if t.algorithm == record.baseline), default=None)
        second = runner_up(record)
        about, digits = ("~", 2) if is_estimate else ("", 3)
        time = "" if second is None else number(second.estimate_seconds if is_estimate else second.seconds, digits)
        algorithm = "" if second is None else second.algorithm
        cells: dict[str, Cell] = {
            **self._cells_of(job),
            "winner": (record.algorithm, "bold"),
            "ms": about + number(seconds, digits),
            "baseline": gain_cell(base, seconds, about),
            "model": gain_cell(before, seconds, about),
            "torch": gain_cell(against, seconds, about),
            "runner_up": (f"{algorithm} {about if time else ''}{time}", "bright_black"),
            "second": (algorithm, "bright_black"),
            "note": ("stored" if stored else "estimated" if is_estimate else "", "bright_black"),
        }
        cells["brief"] = cells["digest"]
        return self._table.row(cells)

    def row_of_next(self, job: Job) -> Line:
        """The problem that is being measured."""
        cells: dict[str, Cell] = {**self._cells_of(job), "winner": "..."}
        cells["brief"] = cells["digest"]
        return [(text, "bright_black") for text, _ in self._table.row(cells)]

    def _cells_of(self, job: Job) -> dict[str, str]:
        times = f" x{job.count}" if job.count > 1 else ""
        return {
            "layer": job.layer + times,
            "name": job.layer,
            "problem": str(job.problem),
            "short": " ".join(word for word in str(job.problem).split() if word not in self._common),
            "digest": digest(job.problem, self._common, job.pass_name),
        }


def common_words(problems: Sequence[ConvProblem]) -> tuple[str, ...]:
    """The direction and the settings in words (no sizes) that are the same in the text of every problem."""
    first, *others = [str(problem).split() for problem in problems]
    words = [first[0], *(word for word in first[3:] if word.isidentifier() and not word[1:].isdigit())]
    words += [word for word in first[3:] if word.startswith("+")]
    return tuple(word for word in words if all(word in other for other in others))


def digest(problem: ConvProblem, common: Sequence[str], pass_name: str | None = None) -> str:
    """The problem's text without what all have in common, what its pass says, and what follows from the rest: a batch
    of one, the channels of a filter."""
    direction, input_shape, weight_shape, *settings = str(problem).split()
    filters, _, *kernel = weight_shape.split("x")
    words = [input_shape.removeprefix("1x") if problem.batch == 1 else input_shape, "x".join([filters, *kernel])]
    words += [word for word in settings if word not in common]
    if direction in common or direction == DIRECTION_OF_PASS.get(pass_name):
        return " ".join(words)
    return " ".join([*words, direction.removeprefix("backward_") if pass_name is None else "transposed"])


def title_of_gain(baseline: str) -> str:
    """What stands above gains over the baseline."""
    return baseline if len(baseline) <= LONGEST_TITLE else "baseline"


def winner_of(record: TuningRecord) -> Timing | None:
    """What was measured, or estimated, of the choice; None where a file does not say."""
    same = [t for t in record.timings if not t.packed and t.algorithm == record.algorithm]
    return next((t for t in same if t.params == record.params), same[0] if same else None)


def model_of(record: TuningRecord) -> Timing | None:
    """What was measured of the cost model's choice; None where a file does not say."""
    same = [t for t in record.timings if not t.packed and t.algorithm == record.default]
    if record.default_params is not None:
        same = [t for t in same if t.params == record.default_params]
    return min(same, key=lambda timing: timing.estimate_seconds, default=None)


def runner_up(record: TuningRecord) -> Timing | None:
    """The fastest of the other algorithms, or the one that is expected to be."""
    others = [t for t in record.timings if not t.packed and t.algorithm != record.algorithm and t.outcome != "wrong"]
    if record.seconds is None:
        return min(others, key=lambda timing: timing.estimate_seconds, default=None)
    return min((t for t in others if t.seconds is not None), key=lambda t: t.seconds or 0.0, default=None)


def number(seconds: float | None, digits: int = 3) -> str:
    """Milliseconds with so many digits; a dash where there are none."""
    if seconds is None:
        return "-"
    milliseconds = seconds * 1e3
    if milliseconds <= 0:
        return "0"
    decimals = min(max(digits - 1 - math.floor(math.log10(milliseconds)), 0), digits + 1)
    return f"{milliseconds:.{decimals}f}"


def gain_text(before: float | None, after: float | None) -> str:
    """How many times as fast; a dash where one of the times is not known."""
    if before is None or not after:
        return "-"
    gain = before / after
    return f"{gain:.2f}x" if gain < 9.995 else f"{gain:.1f}x" if gain < 99.95 else f"{gain:.0f}x"


def gain_cell(before: float | None, after: float | None, about: str = "") -> Cell:
    """The same, in a colour that says whether something was gained."""
    text = gain_text(before, after)
    if before is None or not after:
        return text, "bright_black"
    gain = before / after
    return about + text, "green" if gain >= 1.05 else "red" if gain <= 0.95 else "bright_black"
