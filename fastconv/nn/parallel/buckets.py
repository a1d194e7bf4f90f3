"""Buckets: gradients that are summed over the ranks in one go, and the running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..parameter import Buffer, Parameter, array_module

Array = Any


class Bucket:
    """Gradients of some parameters in one piece of memory, where backward writes them.

    Behind them lie as many numbers as there are parameters: how many ranks have a gradient for each. Half floats are
    summed in single precision, which both MPI and NCCL know.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        module, dtype = array_module(parameters[0].data), wire_dtype(parameters[0])
        sizes = [int(np.prod(parameter.shape)) for parameter in parameters]
        self.flat = module.zeros(sum(sizes) + len(sizes), dtype)
        self.gradients, self.counts = self.flat[: sum(sizes)], self.flat[sum(sizes) :]
        ends = np.cumsum([0, *sizes])
        self.parts = [
            self.flat[start : start + length].reshape(parameter.shape)
            for parameter, start, length in zip(parameters, ends.tolist(), sizes, strict=False)
        ]
        for parameter, part in zip(self.parameters, self.parts, strict=True):
            if parameter.dtype == part.dtype:
                _settle(parameter, part)
        self.begin()

    def begin(self) -> None:
        """Wait for the gradients of the next step."""
        self.waits_for = set(range(len(self.parameters)))

    def take(self, number: int, weight: float) -> None:
        """The gradient of one parameter is complete."""
        gradient, part = self.parameters[number].grad, self.parts[number]
        self.counts[number] = gradient is not None
        if gradient is None:
            part[...] = 0
        elif not _is_in(gradient, part):
            part[...] = gradient
        if weight != 1:
            part *= weight
        self.waits_for.discard(number)

    def take_rest(self, weight: float) -> None:
        """No more gradients will come."""
        for number in sorted(self.waits_for):
            self.take(number, weight)

    def give(self, divisor: int) -> None:
        """The sums are there: they, or what they are over ``divisor``, become the gradients."""
        if divisor != 1:
            self.gradients /= divisor
        counts = self.counts.tolist()
        for parameter, part, count in zip(self.parameters, self.parts, counts, strict=True):
            if count:
                parameter.grad = part if part.dtype == parameter.dtype else part.astype(parameter.dtype)


class Statistics:
    """Running statistics, in one piece: they become their mean over the ranks."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._buffers = list(buffers)
        self._kept: list[Array] = []
        self.keep()

    def keep(self) -> None:
        """Remember them as they are after a step: the next forward changes them before the parameters change."""
        self._kept = [buffer.data.copy() for buffer in self._buffers]

    def kept(self) -> dict[int, Array]:
        """What was kept, by the buffers' ids."""
        return {id(buffer): data for buffer, data in zip(self._buffers, self._kept, strict=True)}

    def take(self) -> Array | None:
        """All of those that are averaged, for the sum over the ranks; None if there are none."""
        averaged = [buffer for buffer in self._buffers if buffer.is_floating()]
        if not averaged:
            return None
        module = array_module(averaged[0].data)
        return module.concatenate([buffer.data.reshape(-1).astype(np.float64) for buffer in averaged])

    def give(self, sums: Array, ranks: int) -> None:
        """Their mean, from the sum."""
        end = 0
        for buffer in self._buffers:
            if buffer.is_floating():
                start, end = end, end + buffer.data.size
                buffer.data[...] = (sums[start:end] / ranks).reshape(buffer.shape)


def wire_dtype(parameter: Parameter) -> np.dtype:
    """What a parameter's gradient is summed in."""
    return np.dtype(np.float32) if parameter.dtype.itemsize < 4 else parameter.dtype


def buckets_of(parameters: Sequence[Parameter], most_bytes: int) -> list[Bucket]:
    """Buckets of up to so many bytes, in the order of the parameters; each of one dtype and kind."""
    buckets: list[Bucket] = []
    part: list[Parameter] = []
    total = 0
    for parameter in parameters:
        length = int(np.prod(parameter.shape)) * wire_dtype(parameter).itemsize
        if part and (total + length > most_bytes or wire_dtype(part[0]) != wire_dtype(parameter)):
            buckets.append(Bucket(part))
            part, total = [], 0
        part.append(parameter)
        total += length
    return [*buckets, Bucket(part)] if part else buckets


def _is_in(gradient: Array, part: Array) -> bool:
    """Whether a gradient lies in its part of a bucket; a layer may return another view of it."""
    return gradient is part or bool(array_module(part).may_share_memory(gradient, part))


def _settle(parameter: Parameter, part: Array) -> None:
    """Have a parameter's gradient in this memory, with the numbers that it has."""
    if parameter.grad is not None:
        part[...] = parameter.grad
        parameter.grad = part
    else:
        parameter.grad = part
        parameter.zero_grad()
