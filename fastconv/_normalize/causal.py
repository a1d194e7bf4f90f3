"""Causal depthwise 1-D convolution with a carried state: what users pass, to calls on parts of the arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array
from .._backend import Backend, backend_of
from .._errors import unfit
from . import convolution, gradients
from .arguments import per_axis
from .arrays import check_out
from .call import ConvCall, check_shape
from .convolution import FLOAT_DTYPES, check_dtypes
from .frame import Frame
from .gradients import BackwardCall, check_needs
from .settings import Settings


@dataclass(frozen=True)
class Checked:
    """Arrays of a causal convolution, and how they are cut along time."""

    frame: Frame
    x: np.ndarray
    w: np.ndarray
    """(C, 1, k)"""
    state: np.ndarray
    settings: Settings
    reach: int
    """Elements before an output that it sees; the length of a state."""

    @property
    def backend(self) -> Backend:
        return backend_of(self.x)

    @property
    def axis(self) -> int:
        return self.frame.first_spatial_axis

    @property
    def length(self) -> int:
        return self.x.shape[self.axis]

    @property
    def head(self) -> int:
        """Elements of the result that see the state."""
        return min(self.length, self.reach)

    def places(self, begin: int, end: int) -> tuple[slice, ...]:
        """The index of elements ``begin`` to ``end`` of time."""
        return (slice(None),) * self.axis + (slice(begin, end),)

    @property
    def kept(self) -> tuple[slice, ...] | None:
        """The elements of the state that are still in the next one; None for no element."""
        return self.places(self.length, self.reach) if self.length < self.reach else None

    @property
    def tail(self) -> tuple[slice, ...]:
        """The elements of x that are in the next state."""
        return self.places(max(self.length - self.reach, 0), self.length)

    def cut(self, array: np.ndarray, begin: int, end: int) -> np.ndarray:
        """The elements ``begin`` to ``end`` of the time axis."""
        return array[self.places(begin, end)]

    def source(self, x: np.ndarray, state: np.ndarray, begin: int) -> np.ndarray:
        """What the part of the result that begins there is computed from: the first sees the state."""
        return x if begin == self.reach else self.join(state, self.cut(x, 0, self.head))

    def after(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The state after x: the last elements of both joined."""
        return self.join(state[self.kept], x[self.tail]) if self.kept else x[self.tail].copy()

    def join(self, *arrays: np.ndarray) -> np.ndarray:
        return self.backend.concatenate(arrays, self.axis)


@dataclass
class CausalCall:
    """The parts of the result that do and do not see the state, and what the user gets."""

    parts: list[ConvCall]
    bounds: list[tuple[int, int]]
    """First and last element of each part along time."""
    checked: Checked
    result: np.ndarray
    out: np.ndarray | None
    """What ``result`` is copied to at the end, if it could not be written in place."""
    state: np.ndarray
    """The state after the call."""


@dataclass
class CausalBackward:
    """The gradients of the convolution of state and x joined, and how that of the joined array is cut."""

    joined: BackwardCall
    source: np.ndarray
    """State and x joined."""
    checked: Checked
    needs_x: bool
    needs_state: bool
    dstate: np.ndarray | None
    weight_shape: tuple[int, ...]

    @property
    def places(self) -> tuple[tuple[slice, ...], ...]:
        """Of the joined array: the state before, x, and the state after."""
        reach, length = self.checked.reach, self.checked.length
        places = self.checked.places
        return places(0, reach), places(reach, reach + length), places(length, reach + length)


def forward(
    dilation: Any,
    layout: Any,
    precision: Any,
    activation: Any,
    x: Any,
    w: Any,
    bias: Any,
    state: Any,
    add: Any,
    out: Any,
) -> CausalCall:
    """The result's first elements from the state and the first of x; the others from x alone."""
    c = _check(x, w, state, dilation, layout, precision)
    bias, add = (None if a is None else as_array(name, a) for name, a in (("bias", bias), ("add", add)))
    check_dtypes(FLOAT_DTYPES, x=c.x, bias=bias, add=add)
    if add is not None:
        check_shape("add", add, c.x.shape)
    checked = None if out is None else check_out(out, c.x.shape, c.x.dtype, c.x)
    if checked is not None and c.backend.writable_in_place(checked, c.x, c.w, c.state, add, bias):
        result, copied = checked, None
    else:
        result, copied = c.backend.empty(c.x.shape, c.x.dtype.newbyteorder("=")), checked
    bounds = [(begin, end) for begin, end in ((0, c.head), (c.reach, c.length)) if begin < end]
    parts = []
    for begin, end in bounds:
        source, part_out = c.source(c.x, c.state, begin), c.cut(result, begin, end)
        part_add = None if add is None else c.cut(add, begin, end)
        parts.append(convolution.forward(1, c.settings, activation, source, c.w, bias, part_add, part_out))
    return CausalCall(parts, bounds, c, result, copied, c.after(c.x, c.state))


def backward(
    dilation: Any,
    layout: Any,
    precision: Any,
    activation: Any,
    needs: Any,
    dy: Any,
    x: Any,
    w: Any,
    bias: Any,
    state: Any,
    dstate: Any,
    add: Any,
) -> CausalBackward:
    """The gradients for x, w, bias and state; ``dstate`` is that of the state after the forward."""
    needs_x, needs_w, needs_bias, needs_state = check_needs(needs, ("dx", "dw", "db", "dstate"))
    c = _check(x, w, state, dilation, layout, precision)
    if dstate is not None:
        dstate = as_array("dstate", dstate)
        check_dtypes(FLOAT_DTYPES, x=c.x, dstate=dstate)
        check_shape("dstate", dstate, c.state.shape)
    wanted = (needs_x or needs_state, needs_w, needs_bias)
    source = c.join(c.state, c.x)
    joined = gradients.backward(1, c.settings, activation, wanted, dy, source, c.w, bias, add)
    return CausalBackward(joined, source, c, needs_x, needs_state, dstate, as_array("w", w).shape)


def _check(x: Any, w: Any, state: Any, dilation: Any, layout: Any, precision: Any) -> Checked:
    x, w = as_array("x", x), as_array("w", w)
    frame = Frame.of(1, "x", x.shape, layout, None)
    batch, channels, (length,) = frame.data_sizes(x.shape)
    kernel = w.shape[-1] if w.ndim else 0
    if kernel < 1 or w.shape not in ((channels, kernel), (channels, 1, kernel)):
        raise unfit("w", f"shape {w.shape}", f"shape (C, k) or (C, 1, k) with the {channels} channels of x")
    if length < 1:
        raise unfit("x", f"shape {x.shape}", "a length of 1 or more")
    (step,) = per_axis("dilation", dilation, 1, 1)
    reach = (kernel - 1) * step
    shape = frame.data_shape((batch, channels, 1, 1, reach))
    if state is not None:
        state = as_array("state", state)
        check_shape("state", state, shape)
    check_dtypes(FLOAT_DTYPES, x=x, w=w, state=state)
    if state is None:
        state = backend_of(x).zeros(shape, x.dtype)
    settings = Settings(dilation=step, layout=layout, precision=precision, depthwise=True)
    return Checked(frame, x, w.reshape(channels, 1, kernel), state, settings, reach)
