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

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

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

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(self.__getstate__().values()))

    def __getstate__(self) -> dict[str, object]:
        """The fields, without what was worked out from them: hashes of strings differ from process to process."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @cached_property
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
        return replace(self, **changes)  # type: ignore[arg-type]

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
        """The problem that ``text`` names; ValueError where it names none."""
        words = text.split()
        try:
            direction, input_shape, weight_shape = words[0], _numbers(words[1]), _numbers(words[2])
            rank = len(input_shape) - 2
            if direction not in DIRECTIONS or rank not in (1, 2, 3) or len(weight_shape) != rank + 2:
                raise ValueError
            fields: dict[str, object] = {"groups": 1}
            for word in words[3:]:
                fields.update(_parse_word(word, rank))
            problem = cls(
                direction,
                input_shape[0],
                input_shape[1],
                weight_shape[0],
                _three(input_shape[2:], 1),
                _three(weight_shape[2:], 1),
                **fields,  # type: ignore[arg-type]
            )
        except (ValueError, IndexError):
            raise ValueError(
                f"problem: got {text!r}; allowed: '<direction> <input shape> <weight shape> [s2] [p1] [d2] [g4] "
                f"[dtype] [channels_last] [weight layout] [precision] [+bias+add+activation]', "
                f"as in 'forward 8x64x56x56 128x64x3x3 s2 p1 float32'"
            ) from None
        problem._check()
        if weight_shape[1] * problem.groups != problem.in_channels:
            raise ValueError(
                f"problem: got {text!r}; allowed: {weight_shape[1] * problem.groups} input channels for weights of "
                f"{weight_shape[1]} in {problem.groups} groups"
            )
        return problem

    def _check(self) -> None:
        for name, value, least in (
            ("groups", (self.groups,), 1),
            ("stride", self.stride, 1),
            ("dilation", self.dilation, 1),
            ("kernel", self.kernel_size, 1),
        ):
            if min(value) < least:
                raise ValueError(f"problem: {name} is {value}; allowed: {least} or more")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"problem: groups {self.groups} must divide {self.in_channels} and {self.out_channels}")


def _axes_text(sizes: tuple[Any, ...]) -> str:
    texts = []
    for size in sizes:
        if isinstance(size, tuple):
            texts.append(str(size[0]) if size[0] == size[1] and size[0] >= 0 else f"{size[0]}:{size[1]}")
        else:
            texts.append(str(size))
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(x\d+)*", text):
        raise ValueError
    return tuple(int(number) for number in text.split("x"))


def _three(sizes: tuple[int, ...], fill: int) -> Sizes:
    return cast(Sizes, (fill,) * (3 - len(sizes)) + tuple(sizes))


def _parse_word(word: str, rank: int) -> dict[str, object]:
    """The fields of a problem that one word of its text sets."""
    if word in DTYPES:
        return {"dtype": word}
    if word in LAYOUTS:
        return {"layout": word}
    if word in WEIGHT_LAYOUTS:
        return {"weight_layout": word}
    if word in PRECISIONS:
        return {"precision": word}
    if word.startswith("+"):
        return {"epilogue": Epilogue.parse(word)}
    match = re.fullmatch(r"([spdg])(-?\d+(?::-?\d+)?(?:x-?\d+(?::-?\d+)?)*)", word)
    if not match:
        raise ValueError
    letter, parts = match[1], match[2].split("x")
    if letter == "g":
        return {"groups": int(match[2])}
    parts = parts * rank if len(parts) == 1 else parts
    if len(parts) != rank:
        raise ValueError
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
