"""Case: everything about one call, in plain values; one line of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

Sizes = tuple[int, ...]
Padding = str | tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Case:
    """One call of a public function. The defaults are what a case is made smaller towards.

    ``function`` is the public name with ``*`` in the place of the number of spatial axes; plans are called
    ``plan.<function>.<direction>``. Channels and filters are counted per group, filters being the first axis of the
    weight; a transposed convolution reads filters and writes channels.
    """

    function: str
    size: Sizes
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    padding: Padding
    batch: int = 1
    channels: int = 1
    filters: int = 1
    groups: int = 1
    points: int = 1
    """Filters of the second step of a separable convolution."""
    output_padding: Sizes | None = None
    padding_mode: str = "zeros"
    batched: bool = True
    channels_last: bool = False
    weight_layout: str = "OI*"
    flat_weight: bool = False
    """A causal convolution's weight without its axis of size 1."""
    dtype: str = "float32"
    weight_dtype: str = "int8"
    """The dtype of w in a convolution of integers, whose x has ``dtype``."""
    zero_points: Sizes = (0, 0)
    zero_point_per_filter: bool = False
    bias: bool = False
    add: bool = False
    state: bool = False
    """A causal convolution's state, and in its backward the gradient of the state after it."""
    activation: str | None = None
    slope: float | None = None
    needs: tuple[bool, ...] | None = None
    precision: str | None = None
    ceil_mode: bool = False
    default_stride: bool = False
    """A pooling without ``stride``."""
    count_include_pad: bool = True
    divisor_override: int | None = None
    output_size: tuple[int | None, ...] | None = None
    return_indices: bool = False
    indices: bool = False
    """A max pooling's gradient from the indices of the forward."""
    keepdims: bool = True
    shape_only: bool = False
    """A gradient that is given the shape of x instead of x."""
    data: str = "integers"
    """"integers", "normal", or "special": integers with a few NaN and infinities."""
    memory: tuple[tuple[str, str], ...] = ()
    """Where arrays lie (see memory.py), by the names of the arguments; "plain" for the others."""
    out: str | None = None
    """Where ``out`` lies; "overlap" for one in the memory of the first array."""
    algorithm: str | None = None
    """None: every algorithm that accepts the call, and "auto"."""
    seed: int = 0

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.size)

    @property
    def name(self) -> str:
        """The public function's name."""
        return self.function.replace("*", str(self.rank))

    @property
    def is_transposed(self) -> bool:
        return "conv_transpose" in self.function

    def place_of(self, argument: str) -> str:
        """The word for where an argument lies in memory."""
        return dict(self.memory).get(argument, "plain")

    def replace(self, **changes: Any) -> Case:
        """The same case with some fields changed."""
        return replace(self, **changes)

    def __str__(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return json.dumps(given)

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case whose line is ``text``; ValueError where it is none."""
        try:
            return cls(**{name: _tuples(value) for name, value in json.loads(text).items()})
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"case: got {text[:200]!r}; allowed: the JSON of a case ({error})") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
