"""Layer, Suite, and Network: the vocabulary in which the networks are written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from .._problem import ConvProblem, Direction, Pairs, Sizes

PASSES = ("forward", "input", "weight")
"""What training computes of a layer: its result, the gradient for its input, the gradient for its weight."""

_DIRECTIONS: dict[str, Direction] = {"forward": "forward", "input": "backward_input", "weight": "backward_weight"}


def problem_of_pass(problem: ConvProblem, name: str) -> ConvProblem:
    """The problem of one pass of the layer whose forward pass is ``problem``, which may be a transposed one."""
    direction = _DIRECTIONS[name]
    if problem.direction == "backward_input" and name != "weight":
        direction = "backward_input" if name == "forward" else "forward"
    return problem.replace(direction=direction)


@dataclass(frozen=True)
class Layer:
    """A convolution of a network: its forward pass, and how often it occurs."""

    name: str
    """Name of the first occurrence."""
    problem: ConvProblem
    count: int


@dataclass(frozen=True)
class Suite:
    """The convolutions of one network."""

    name: str
    description: str
    layers: tuple[Layer, ...]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass."""
        return sum(layer.count * layer.problem.multiply_adds for layer in self.layers)

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(layer.count * math.prod(layer.problem.weight_shape) for layer in self.layers)


class Feature(NamedTuple):
    """What flows between layers: channels and spatial sizes of one image, volume or signal."""

    channels: int
    size: tuple[int, ...]

    def pooled(self, kernel: int, stride: int, padding: int = 0) -> Feature:
        """After pooling every axis."""
        return Feature(self.channels, tuple((size + 2 * padding - kernel) // stride + 1 for size in self.size))

    def averaged(self) -> Feature:
        """After global average pooling."""
        return Feature(self.channels, (1,) * len(self.size))

    def joined(self, *others: Feature) -> Feature:
        """After concatenating along the channels; the others are cropped to this one's size."""
        return Feature(self.channels + sum(other.channels for other in others), self.size)


class Network:
    """Collects the convolutions that a network's description calls, in their order."""

    def __init__(self) -> None:
        self._counts: dict[ConvProblem, int] = {}
        self._names: dict[ConvProblem, str] = {}

    def layers(self) -> tuple[Layer, ...]:
        """Every distinct convolution."""
        return tuple(Layer(self._names[problem], problem, count) for problem, count in self._counts.items())

    def conv(
        self,
        name: str,
        x: Feature,
        channels: int,
        kernel: int | Sequence[int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int = 1,
        groups: int = 1,
    ) -> Feature:
        """A convolution to ``channels``; ``padding`` None keeps the size at stride 1, for odd kernels."""
        problem = self._problem(x, channels, kernel, stride, padding, dilation, groups)
        self._add(name, problem)
        return Feature(channels, problem.output_size[3 - len(x.size) :])

    def up_conv(self, name: str, x: Feature, channels: int, kernel: int) -> Feature:
        """A transposed convolution with stride = kernel: every axis grows ``kernel`` times."""
        grown = Feature(channels, tuple(size * kernel for size in x.size))
        problem = self._problem(grown, x.channels, kernel, kernel, 0, 1, 1)
        self._add(name, problem.replace(direction="backward_input"))
        return grown

    def _add(self, name: str, problem: ConvProblem) -> None:
        self._names.setdefault(problem, name)
        self._counts[problem] = self._counts.get(problem, 0) + 1

    @staticmethod
    def _problem(
        x: Feature,
        channels: int,
        kernel: int | Sequence[int],
        stride: int,
        padding: int | tuple[int, int] | None,
        dilation: int,
        groups: int,
    ) -> ConvProblem:
        rank = len(x.size)
        lead = 3 - rank
        kernels = (kernel,) * rank if isinstance(kernel, int) else tuple(kernel)
        pads = [(dilation * (k - 1) // 2,) * 2 if padding is None else _pair(padding) for k in kernels]
        return ConvProblem(
            direction="forward",
            batch=1,
            in_channels=x.channels,
            out_channels=channels,
            input_size=cast(Sizes, (1,) * lead + x.size),
            kernel_size=cast(Sizes, (1,) * lead + kernels),
            stride=cast(Sizes, (1,) * lead + (stride,) * rank),
            padding=cast(Pairs, ((0, 0),) * lead + tuple(pads)),
            dilation=cast(Sizes, (1,) * lead + (dilation,) * rank),
            groups=groups,
        )


def _pair(padding: int | tuple[int, int]) -> tuple[int, int]:
    return (padding, padding) if isinstance(padding, int) else padding
