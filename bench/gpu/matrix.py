"""What is measured, in which order: what matters most comes first, so that a run that is cut short is of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastconv import suites
from fastconv._problem import Epilogue
from fastconv.suites.layers import PASSES

from ..layers import LAYOUTS, Layer, layers


class Level(NamedTuple):
    """A dtype, and the precision of float32."""

    dtype: str
    precision: str


LEVELS = {
    "highest": Level("float32", "highest"),
    "bfloat16": Level("bfloat16", "high"),
    "float16": Level("float16", "high"),
    "medium": Level("float32", "medium"),
    "high": Level("float32", "high"),
}
LISTS = ("reference", "signals", "images", *suites.NAMES)


@dataclass(frozen=True)
class Work:
    """One problem to be measured."""

    level: str
    layer: Layer


def works(
    words: Sequence[str],
    levels: Sequence[str],
    layouts: Sequence[str],
    passes: Sequence[str],
    patterns: list[str] | None = None,
    batch: int | None = None,
    bias: bool = False,
) -> list[Work]:
    """All combinations: list by list, and in each pass by pass, level by level. Problems of one channel have one
    layout; nothing is there twice. With ``bias`` one is added to every result."""
    found: dict[object, Work] = {}
    for word in words:
        for pass_name in sorted(passes, key=PASSES.index):
            for name in levels:
                for layout in layouts:
                    level = LEVELS[name]
                    for layer in _layers(word, pass_name, patterns, level, layout, batch):
                        if bias and layer.problem.direction == "forward":
                            problem = layer.problem.replace(epilogue=Epilogue(bias=True))
                            layer = Layer(layer.name, layer.pass_name, problem)
                        found.setdefault(layer.problem, Work(name, layer))
    if not found:
        raise ValueError(f"none of {', '.join(words)} has {' or '.join(patterns or [])} in its name or problem")
    return list(found.values())


def _layers(
    word: str, pass_name: str, patterns: list[str] | None, level: Level, layout: str, batch: int | None
) -> list[Layer]:
    assert layout in LAYOUTS
    wanted = layers([word], [pass_name], None, level.dtype, layout, batch, level.precision)
    return [
        layer
        for layer in wanted
        if patterns is None or any(text in layer.name or text in str(layer.problem) for text in patterns)
    ]
