"""The arguments of the tuning functions and of the command line: problems, suites, passes, files."""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import _config, suites
from .._backend import BACKENDS, CPU, Backend, find_backend
from .._choose import tuning_cache
from .._choose import tuning_file as files
from .._choose.sample import ITEM_BYTES, array_bytes
from .._choose.tuning_record import EFFORTS
from .._errors import ProblemTextError, bad_type, bad_value, unfit
from .._problem import DIRECTIONS, DTYPES, LAYOUTS, ConvProblem
from ..suites.layers import PASSES, problem_of_pass
from .arguments import MAX_BYTES

MAX_SIZE = 2**62
"""Sizes are below this, as for the arguments of a call."""
MAX_ITEM_BYTES = max(ITEM_BYTES.values())

PROBLEM_EXAMPLE = "forward 8x64x56x56 128x64x3x3 s2 p1 float32"


@dataclass(frozen=True)
class Job:
    """A problem to be tuned, and where it comes from."""

    problem: ConvProblem
    suite: str | None = None
    layer: str = ""
    pass_name: str | None = None
    count: int = 1
    """How often the layer occurs in its suite."""


def jobs(
    problems: Any,
    passes: Any = None,
    batch: int | None = None,
    dtype: str | None = None,
    layout: str | None = None,
) -> list[Job]:
    """Suite names, problem texts and ConvProblems, one or several, to jobs.

    ``passes`` None: the forward pass of suites, and problems as they are. Batch, dtype and layout change all problems.
    """
    items = [problems] if isinstance(problems, (str, ConvProblem)) else problems
    if not _is_listed(items):
        raise bad_type("problems", problems, "suite names, problem texts or ConvProblems")
    changes: dict[str, object] = {"batch": batch, "dtype": dtype, "layout": layout}
    changes = {name: value for name, value in changes.items() if value is not None}
    if dtype is not None and dtype not in DTYPES:
        raise bad_value("dtype", dtype, ", ".join(DTYPES))
    if layout is not None and layout not in LAYOUTS:
        raise bad_value("layout", layout, ", ".join(LAYOUTS))
    if batch is not None and batch < 1:
        raise bad_value("batch", batch, "1 or more")
    wanted = None if passes is None else pass_names(passes)
    found = [job for item in items for job in _jobs_of(item, wanted)]
    return [replace(job, problem=_computable(job.problem.replace(**changes))) for job in found]


def _jobs_of(item: Any, passes: Sequence[str] | None) -> list[Job]:
    if isinstance(item, str) and item in suites.NAMES:
        return [
            Job(problem_of_pass(layer.problem, name), item, layer.name, name, layer.count)
            for name in passes or ("forward",)
            for layer in suites.suite(item).layers
        ]
    parsed = problem(item, or_suite=True)
    if passes is None:
        return [Job(parsed)]
    return [Job(problem_of_pass(parsed, name), pass_name=name) for name in passes]


def problem(value: Any, or_suite: bool = False) -> ConvProblem:
    """A ConvProblem or the text of one, as a ConvProblem with something to compute.

    ``or_suite``: the name of a suite would have done as well, which messages say.
    """
    if not isinstance(value, (str, ConvProblem)):
        raise bad_type("problem", value, f"a ConvProblem or its text, as in {PROBLEM_EXAMPLE!r}")
    if isinstance(value, str) and len(value.split()) < 3:
        names = f"{', '.join(suites.NAMES)}, or " if or_suite else ""
        hint = _hint(value, suites.NAMES if or_suite else ())
        raise bad_value("problem", value, f"{names}a text as {PROBLEM_EXAMPLE!r}{hint}")
    if not isinstance(value, str):
        return _computable(value)
    parsed = ConvProblem.parse(value)
    try:
        return _computable(parsed)
    except ValueError as error:
        shapes = list(re.finditer(r"\S+", value))[1:3]
        place = 0 if 0 in parsed.input_shape else 1
        if place and 0 not in parsed.weight_shape and min(parsed.output_size) > 0:
            raise  # nothing in particular
        raise ProblemTextError.marking(str(error), value, *shapes[place].span()) from None


def _hint(value: str, names: Sequence[str]) -> str:
    """What may have been meant by a text of too few words."""
    near, first = difflib.get_close_matches(value, names, 1), [*value.split(), ""][0]
    if near:
        return f" (meant: {near[0]}?)"
    if first in DIRECTIONS:
        return " (on a command line the text stands in quotes)"
    return f" (meant: 'forward {value}'?)" if re.fullmatch(r"\d+(x\d+)+", first) and " " in value else ""


def _computable(problem: ConvProblem) -> ConvProblem:
    """``problem``, if arrays of its sizes can exist and have something in them."""
    shapes = problem.input_shape, problem.weight_shape
    if 0 in shapes[0] + shapes[1]:
        raise unfit("problem", f"{problem}, which has nothing to compute", "sizes of 1 or more")
    reaches = [d * (k - 1) + 1 for d, k in zip(problem.dilation, problem.kernel_size, strict=True)]
    numbers = [*shapes[0], *shapes[1], *problem.stride, *reaches, *(abs(p) for pair in problem.padding for p in pair)]
    if max(numbers) >= MAX_SIZE:
        raise unfit("problem", str(problem), f"sizes below {MAX_SIZE}")
    if min(problem.output_size) < 1:
        raise unfit("problem", f"{problem}, whose kernel is larger than its padded input", "an output of 1 or more")
    if max(math.prod(shape) for shape in (*shapes, problem.output_shape)) * MAX_ITEM_BYTES > MAX_BYTES:
        raise unfit("problem", str(problem), f"arrays below {MAX_BYTES} bytes")
    return problem


def check_memory(jobs: Iterable[Job], backend: Backend = CPU) -> None:
    """ValueError for the first problem whose arrays do not fit the memory of this machine, or of its device."""
    memory_bytes = min(_config.memory_bytes(), backend.memory_bytes())
    for job in jobs:
        needed = array_bytes(job.problem)
        if needed > memory_bytes:
            fact = f"{job.problem}, whose arrays take {_gib(needed)}"
            raise unfit("problem", fact, f"what fits in the {_gib(memory_bytes)} of this machine")


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB" if size < 2**40 else f"{size / 2**40:.3g} TiB"


def pass_names(value: Any) -> list[str]:
    """Names of passes, from words or one text with commas."""
    allowed = f"one or more of {', '.join(PASSES)}"
    items = value.split(",") if isinstance(value, str) else value
    if not _is_listed(items):
        raise bad_type("passes", value, allowed)
    names = [name.strip() if isinstance(name, str) else name for name in items]
    if not names or not all(isinstance(name, str) and name in PASSES for name in names):
        raise bad_value("passes", value, allowed)
    return list(dict.fromkeys(names))


def _is_listed(value: Any) -> bool:
    """Whether ``value`` has items; NumPy's arrays without axes only look like it."""
    return isinstance(value, Iterable) and getattr(value, "shape", None) != ()


def backend(value: Any) -> Backend:
    """The backend of that name."""
    if not isinstance(value, str) or value not in BACKENDS:
        raise bad_value("backend", value, ", ".join(BACKENDS))
    return find_backend(value)


def effort_name(value: Any) -> str:
    """The name of an effort."""
    if not isinstance(value, str) or value not in EFFORTS:
        raise bad_value("effort", value, ", ".join(EFFORTS))
    return str(value)


def time_limit_seconds(value: Any) -> float | None:
    """A positive number of seconds, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_type("time_limit", value, "a number of seconds, or None")
    if not 0 < value <= sys.float_info.max:
        raise bad_value("time_limit", value, "a positive number of seconds, or None")
    return float(value)


def file_path(path: Any) -> Path:
    """``path`` as the path of a file."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise bad_type("path", path, "the path of a file")
    if not text or "\0" in text:
        raise bad_value("path", path, "the path of a file")
    return Path(text)


def tuning_file(path: Any, any_machine: bool = False, backend: Backend = CPU) -> tuning_cache.Content:
    """The content of an exported file, of this machine or of its device unless ``any_machine``."""
    file = file_path(path)
    try:
        text = files.read(file)
        if text is None:
            raise ValueError("no such file")
        content = tuning_cache.parse(text)
    except (ValueError, OSError) as reason:
        raise unfit("path", f"{os.fspath(path)!r}: {reason}", "a file that export_tuning wrote") from None
    if content.machine_refused:
        tuning_cache.warn_once(Path(path), content.machine_refused)
    here = content.fingerprint if any_machine else backend.fingerprint()
    if content.fingerprint != here:
        names = sorted(here.keys() | content.fingerprint.keys())
        there = content.fingerprint
        differing = [
            f"{ascii(n)[1:-1]} {there.get(n)!r} there, {here.get(n)!r} here"
            for n in names
            if there.get(n) != here.get(n)
        ]
        raise unfit("path", f"{os.fspath(path)!r} of another machine: {'; '.join(differing)}", "a file of this machine")
    return content
