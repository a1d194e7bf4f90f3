"""The files of JSON that ``autotune``, ``bench`` and ``explain`` write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._backend import Backend
from .._choose.tuning_record import TuningRecord
from .._normalize.tuning import Job
from .._problem import ConvProblem
from . import output
from .tuning_table import model_of

Records = dict[ConvProblem, TuningRecord]


def check_json(path: str | None) -> None:
    """ValueError where what was measured could not be written."""
    if path is not None and path != output.STANDARD_OUTPUT:
        output.check_can_write("--json", path)


def write_json(
    path: str,
    jobs: list[Job],
    records: Records,
    backend: Backend,
    against: Mapping[ConvProblem, float | None] | None = None,
) -> None:
    """All jobs with their records, and the machine; ``against`` are PyTorch's times."""
    rows = []
    for job in jobs:
        record = records.get(job.problem)
        if record is not None:
            model = model_of(record)
            row = {
                "suite": job.suite,
                "layer": job.layer,
                "pass": job.pass_name,
                "count": job.count,
                "problem": str(job.problem),
                "threads": record.threads,
                "baseline": record.baseline,
                "baseline_seconds": record.baseline_seconds,
                "model_seconds": None if model is None else model.seconds,
                **record.to_json(),
            }
            if against:
                row["torch_seconds"] = against.get(job.problem)
            rows.append(row)
    write(path, {"fingerprint": backend.fingerprint(), "results": rows})


def write(path: str, content: Any) -> None:
    """Plain values to a file, or to standard output."""
    output.write(path, json.dumps(content, indent=1) + "\n")
