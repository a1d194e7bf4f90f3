"""Named problems: the lists under shapes/, the suites of fastconv, and problem texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastconv import ConvProblem, suites
from fastconv._problem import Epilogue, Layout
from fastconv.suites.layers import problem_of_pass

FOLDER = Path(__file__).parent / "shapes"
LISTS = tuple(sorted(file.stem for file in FOLDER.glob("*.txt")))
LAYOUTS: dict[str, Layout] = {"NCHW": "channels_first", "NHWC": "channels_last"}
REAL_DTYPES = ("float32", "float64", "float16", "bfloat16")
"""Integer problems have no peers, and gradients of complex ones are conjugated."""


@dataclass(frozen=True)
class Layer:
    """A named problem; one pass of a layer."""

    name: str
    pass_name: str
    problem: ConvProblem


def parse_list(text: str) -> list[tuple[str, ConvProblem]]:
    """The problems of a list, one ``[name:] problem`` per line; without a name the text is the name."""
    found = []
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if content:
            # The colon after a name is followed by a space, that of uneven padding (p2:1) is not.
            name, separator, problem = content.rpartition(": ")
            found.append((name if separator else problem, ConvProblem.parse(problem)))
    return found


def read_list(name: str) -> list[tuple[str, ConvProblem]]:
    """The list ``shapes/<name>.txt``."""
    return parse_list((FOLDER / f"{name}.txt").read_text())


def layers(
    words: list[str],
    passes: list[str],
    patterns: list[str] | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    batch: int | None = None,
    precision: str | None = None,
    epilogue: str | None = None,
) -> list[Layer]:
    """All passes of what ``words`` name, pass by pass, without repetitions.

    ``patterns`` keep the layers whose name or problem contains one of them; the rest, where given, changes every
    problem. ValueError where a word names nothing, a dtype has no peers, or nothing is left.
    """
    layout = None if layout is None else LAYOUTS[layout]
    changes: dict[str, Any] = {"dtype": dtype, "layout": layout, "batch": batch, "precision": precision}
    changes = {field: value for field, value in changes.items() if value is not None}
    if epilogue is not None:
        changes["epilogue"] = Epilogue.parse(epilogue)
    named = [(name, problem.replace(**changes)) for word in words for name, problem in _named(word)]
    for _, problem in named:
        if problem.dtype not in REAL_DTYPES:
            raise ValueError(f"dtype of {problem}; allowed: {', '.join(REAL_DTYPES)}")
    found: dict[ConvProblem, Layer] = {}
    for pass_name in passes:
        for name, forward in named:
            problem = problem_of_pass(forward, pass_name)
            if patterns is None or any(pattern in name or pattern in str(problem) for pattern in patterns):
                found.setdefault(problem, Layer(name, pass_name, problem))
    if not found:
        raise ValueError(f"none of {', '.join(words)} has {' or '.join(patterns or [])} in its name or problem")
    return list(found.values())


def _named(word: str) -> list[tuple[str, ConvProblem]]:
    if word in LISTS:
        return read_list(word)
    if word in suites.NAMES:
        return [(f"{word} {layer.name}", layer.problem) for layer in suites.suite(word).layers]
    if len(word.split()) < 3:
        raise ValueError(f"no list or suite {word!r}; there are {', '.join([*LISTS, *suites.NAMES])}")
    return [(word, ConvProblem.parse(word))]
