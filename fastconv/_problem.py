"""ConvProblem: what is to be computed, without arrays and without a word on how.

Everything the library computes with weights is one of three directions of one problem. With ``x`` the input,
``w`` the weight and ``y`` the output of a convolution (correlation; the kernel is not flipped)::

    forward          y[n, k, o]  = sum over c, t of  x[n, c, o*stride + t*dilation - before] * w[k, c, t]
    backward_input   x[n, c, i]  = sum over k, t, o with o*stride + t*dilation - before == i of  y[n, k, o] * w[k, c, t]
    backward_weight  w[k, c, t]  = sum over n, o of  x[n, c, o*stride + t*dilation - before] * y[n, k, o]

A transposed convolution is ``backward_input``, a depthwise one has ``groups == in_channels``, and 1-D and 2-D problems
are 3-D ones with leading sizes of 1.
"""

from __future__ import annotations

import contextlib
import math
import operator
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np

from ._errors import ProblemTextError
from ._once import once

Direction = Literal["forward", "backward_input", "backward_weight"]
Layout = Literal["channels_first", "channels_last"]
WeightLayout = Literal["OIDHW", "DHWIO", "ODHWI"]
Sizes = tuple[int, int, int]
Pairs = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

DIRECTIONS: tuple[Direction, ...] = ("forward", "backward_input", "backward_weight")
RESULT: dict[str, str] = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}
"""By direction, the role of the operand that is computed."""
DATA_AXES = {"channels_first": (0, 1, 2, 3, 4), "channels_last": (0, 2, 3, 4, 1)}
WEIGHT_AXES = {"OIDHW": (0, 1, 2, 3, 4), "DHWIO": (2, 3, 4, 1, 0), "ODHWI": (0, 2, 3, 4, 1)}
"""The canonical axes in the order in which a layout stores them, slowest first."""
LAYOUTS: tuple[Layout, ...] = ("channels_first", "channels_last")
WEIGHT_LAYOUTS: tuple[WeightLayout, ...] = ("OIDHW", "DHWIO", "ODHWI")
DTYPES = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128", "int8")
PRECISIONS = ("ieee", "highest", "high", "medium")
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")
WORDS = {"dtype": DTYPES, "layout": LAYOUTS, "weight_layout": WEIGHT_LAYOUTS, "precision": PRECISIONS}
"""The settings of a problem that are words of its text, and which."""
FORM = "'<direction> <input shape> <weight shape> [settings]', as in 'forward 8x64x56x56 128x64x3x3 s2 p1 float32'"
SETTINGS = (
    "numbers after s (stride), p (padding) and d (dilation), one for all axes or one for each with x between, groups "
    f"after g, {', '.join(word for words in WORDS.values() for word in words)}, +bias, +add, +activation"
)


@dataclass(frozen=True)
class Epilogue:
    """What is added to and applied to a result before it is stored, in this order: bias, add, activation."""

    bias: bool = False
    add: bool = False
    activation: str | None = None
    slope: float = 0.01
    """Slope of ``leaky_relu`` for negative values; no other activation reads it."""

    def __bool__(self) -> bool:
        return self.bias or self.add or self.activation is not None

    def __str__(self) -> str:
        words = ["bias"] * self.bias + ["add"] * self.add
        if self.activation == "leaky_relu":
            # The + of 1e+20 would begin another word.
            words.append(f"leaky_relu={self.slope!r}".replace("+", ""))
        elif self.activation is not None:
            words.append(self.activation)
        return "".join("+" + word for word in words)

    @classmethod
    def parse(cls, text: str) -> Epilogue:
        words = text.split("+")[1:]
        activation, slope = None, 0.01
        for word in words:
            name, _, value = word.partition("=")
            if name in ACTIVATIONS:
                activation, slope = name, float(value) if value else 0.01
            elif name not in ("bias", "add"):
                raise ValueError(f"epilogue: got {text!r}; allowed: +bias, +add and one of {', '.join(ACTIVATIONS)}")
        return cls("bias" in words, "add" in words, activation, slope)


@dataclass(frozen=True)
class ConvProblem:
    """One direction of one convolution: sizes and settings, hashable, with one text form.

    ``str(problem)`` reads ``<direction> <input shape> <weight shape> <what differs from the defaults>`` and
    ``ConvProblem.parse`` reads it back; cache key, log line, test id, benchmark shape and bug report are that line.

    Examples
    --------
    >>> problem = ConvProblem.parse("forward 8x64x56x56 128x64x3x3 s2 p1")
    >>> problem.output_size
    (1, 28, 28)
    >>> str(problem)
    'forward 8x64x56x56 128x64x3x3 s2 p1 float32'
    """

    direction: Direction
    batch: int
    in_channels: int
    out_channels: int
    input_size: Sizes
    kernel_size: Sizes
    stride: Sizes = (1, 1, 1)
    padding: Pairs = ((0, 0), (0, 0), (0, 0))
    dilation: Sizes = (1, 1, 1)
    groups: int = 1
    dtype: str = "float32"
    layout: Layout = "channels_first"
    weight_layout: WeightLayout = "OIDHW"
    precision: str = "high"
    epilogue: Epilogue = Epilogue()

    def __post_init__(self) -> None:
        # With one channel both layouts are the same memory; kernels for rows of pixels are faster.
        if self.in_channels == 1 == self.out_channels:
            object.__setattr__(self, "layout", "channels_first")

    def __hash__(self) -> int:
        return self._hash

    @once
    def _hash(self) -> int:
        return hash(_fields_of(self))

    def __getstate__(self) -> dict[str, object]:
        """The fields, without what was worked out from them: hashes of strings differ from process to process."""
        return dict(zip(FIELDS, _fields_of(self), strict=True))

    @once
    def output_size(self) -> Sizes:
        """Spatial sizes of the forward output; 0 where the kernel is larger than the padded input."""
        sizes = []
        for size, kernel, stride, pad, dilation in zip(
            self.input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        ):
            room = size + pad[0] + pad[1] - (dilation * (kernel - 1) + 1)
            sizes.append(room // stride + 1 if room >= 0 else 0)
        return cast(Sizes, tuple(sizes))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, D, H, W)."""
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(K, C / groups, kD, kH, kW)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, K, oD, oH, oW)."""
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the array that this direction writes."""
        shapes = {
            "forward": self.output_shape,
            "backward_input": self.input_shape,
            "backward_weight": self.weight_shape,
        }
        return shapes[self.direction]

    @property
    def result_channels(self) -> int:
        """Channels of the result, the length of a bias; not meaningful for backward_weight."""
        return self.in_channels if self.direction == "backward_input" else self.out_channels

    @property
    def reduction(self) -> int:
        """The largest number of products that are summed into one element of the result."""
        taps = math.prod(self.kernel_size)
        if self.direction == "forward":
            return self.in_channels // self.groups * taps
        if self.direction == "backward_input":
            return self.out_channels // self.groups * taps
        return self.batch * math.prod(self.output_size)

    @property
    def multiply_adds(self) -> int:
        """Multiply-add pairs of the definition, padding included; the same for the three directions."""
        return self.batch * math.prod(self.output_size) * math.prod(self.weight_shape)

    @property
    def phases(self) -> int:
        """Stride phases of the result that have elements; 1 for all directions but backward_input."""
        if self.direction != "backward_input":
            return 1
        return math.prod(min(step, size) for step, size in zip(self.stride, self.input_size, strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether one of the arrays has no elements, so that there is nothing to multiply."""
        return 0 in (*self.input_shape, *self.weight_shape, *self.output_shape)

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.in_channels

    def replace(self, **changes: object) -> ConvProblem:
        """The same problem with some fields changed."""
        given = dict(zip(FIELDS, _fields_of(self), strict=True), **changes)
        return ConvProblem(**given)  # type: ignore[arg-type]

    def __str__(self) -> str:
        rank = self._text_rank()
        axes = slice(3 - rank, 3)
        words = [
            self.direction,
            "x".join(map(str, (self.batch, self.in_channels, *list(self.input_size)[axes]))),
            "x".join(map(str, (self.out_channels, self.in_channels // self.groups, *list(self.kernel_size)[axes]))),
        ]
        settings: list[tuple[str, tuple[Any, ...], Any]] = [
            ("s", self.stride, 1),
            ("p", self.padding, (0, 0)),
            ("d", self.dilation, 1),
        ]
        for letter, sizes, default in settings:
            if any(size != default for size in sizes):
                words.append(letter + _axes_text(sizes[axes]))
        if self.groups != 1:
            words.append(f"g{self.groups}")
        words.append(self.dtype)
        if self.layout != "channels_first":
            words.append(self.layout)
        if self.weight_layout != "OIDHW":
            words.append(self.weight_layout)
        if self.precision != "high":
            words.append(self.precision)
        if self.epilogue:
            words.append(str(self.epilogue))
        return " ".join(words)

    def _text_rank(self) -> int:
        """Spatial axes to print: leading ones that do nothing are left out, one always stays."""
        for axis in range(2):
            if (
                (self.input_size[axis], self.kernel_size[axis], self.stride[axis], self.dilation[axis]) != (1, 1, 1, 1)
            ) or self.padding[axis] != (0, 0):
                return 3 - axis
        return 1

    @classmethod
    def parse(cls, text: str) -> ConvProblem:
        """The problem that ``text`` names; ValueError where it names none, which says what in it does not fit."""
        return cls(**_Reader(text).fields())


FIELDS = tuple(field.name for field in fields(ConvProblem))
_fields_of = operator.attrgetter(*FIELDS)


class _Reader:
    """Reads the text of a problem, word by word; every refusal says which."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = list(re.finditer(r"\S+", text))

    def fields(self) -> dict[str, Any]:
        """The fields of the problem."""
        if len(self._words) < 3:
            raise ProblemTextError.at(self._text, len(self._text), len(self._text), "ends too early", FORM)
        direction = self._words[0][0]
        if direction not in DIRECTIONS:
            raise self._refusal(0, "is no direction", ", ".join(DIRECTIONS))
        input_shape = self._shape(1, "an input shape: batch, channels and one to three sizes, as in 8x64x56x56")
        rank = len(input_shape) - 2
        own = f"a weight shape with {rank} sizes, as the input has: filters, channels / groups, kernel, as in 128x64"
        weight_shape = self._shape(2, own + "x3" * rank, rank)
        fields: dict[str, Any] = {"groups": 1}
        places = {"kernel_size": 2, "groups": 2}
        for place in range(3, len(self._words)):
            found = self._setting(place, rank)
            fields.update(found)
            places.update(dict.fromkeys(found, place))
        fields |= {"kernel_size": _three(weight_shape[2:], 1)}
        for name in ("kernel_size", "groups", "stride", "dilation"):
            if min(_axes(fields.get(name, 1))) < 1:
                raise self._refusal(places[name], f"has a {name.removesuffix('_size')} below 1", "1 or more")
        groups, channels, filters = fields["groups"], input_shape[1], weight_shape[0]
        if channels % groups or filters % groups:
            fact = f"does not divide {channels} channels and {filters} filters"
            raise self._refusal(places["groups"], fact, "a number of groups that does")
        if weight_shape[1] * groups != channels:
            needed = weight_shape[1] * groups
            fact = f"has {weight_shape[1]} channels in {groups} groups" if groups > 1 else f"has {needed} channels"
            raise self._refusal(2, f"{fact} beside {channels} of the input", f"{needed} input channels")
        sizes = {"batch": input_shape[0], "in_channels": channels, "out_channels": filters}
        return {"direction": direction, **sizes, "input_size": _three(input_shape[2:], 1), **fields}

    def _refusal(self, place: int, fact: str, allowed: str) -> ProblemTextError:
        return ProblemTextError.at(self._text, *self._words[place].span(), fact, allowed)

    def _shape(self, place: int, allowed: str, rank: int | None = None) -> tuple[int, ...]:
        word = self._words[place][0]
        if re.fullmatch(r"\d+(x\d+){2,4}", word, re.ASCII) and rank in (None, word.count("x") - 1):
            with contextlib.suppress(ValueError):  # of thousands of digits
                return tuple(int(number) for number in word.split("x"))
        raise self._refusal(place, "is no shape" if rank is None else "does not fit the input", allowed)

    def _setting(self, place: int, rank: int) -> dict[str, object]:
        """The fields of a problem that one word sets."""
        word = self._words[place][0]
        for name, allowed in WORDS.items():
            if word in allowed:
                return {name: word}
        try:
            if word.startswith("+"):
                return {"epilogue": Epilogue.parse(word)}
            found = _numbered(word, rank)
        except ValueError:
            found = None
        if found is None:
            raise self._refusal(place, "is no setting", SETTINGS)
        return found


def _axes_text(sizes: tuple[Any, ...]) -> str:
    texts = []
    for size in sizes:
        if isinstance(size, tuple):
            texts.append(str(size[0]) if size[0] == size[1] and size[0] >= 0 else f"{size[0]}:{size[1]}")
        else:
            texts.append(str(size))
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _axes(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _three(sizes: tuple[int, ...], fill: int) -> Sizes:
    return cast(Sizes, (fill,) * (3 - len(sizes)) + tuple(sizes))


def _numbered(word: str, rank: int) -> dict[str, object] | None:
    """The field that a letter with numbers sets, one for all axes or one for each; None where there is none."""
    match = re.fullmatch(r"([spdg])(-?\d+(?::-?\d+)?(?:x-?\d+(?::-?\d+)?)*)", word, re.ASCII)
    if not match:
        return None
    letter, parts = match[1], match[2].split("x")
    if letter == "g":
        return {"groups": int(match[2])}
    parts = parts * rank if len(parts) == 1 else parts
    if len(parts) != rank:
        return None
    if letter == "p":
        pairs = [tuple(int(p) for p in part.split(":")) for part in parts]
        pairs = [pair if len(pair) == 2 else (pair[0], pair[0]) for pair in pairs]
        return {"padding": ((0, 0),) * (3 - rank) + tuple(pairs)}
    return {{"s": "stride", "d": "dilation"}[letter]: _three(tuple(int(part) for part in parts), 1)}


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a problem's operands; those of int8 problems are int16, less their zero points."""
    if name == "bfloat16":
        import ml_dtypes  # an optional dependency

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype("int16" if name == "int8" else name)
