"""The arguments of every pooling, forward and backward, to a PoolCall: windows, a frame and arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._arrays import as_array
from .._backend import CPU, Backend, backend_of
from .._errors import bad_type, bad_value, unfit
from .._windows import WindowAxis, Windows
from .arguments import check_addressable, integer, is_sequence, per_axis, shape_and_array
from .arrays import check_out, check_same_place
from .call import check_shape
from .convolution import check_dtypes
from .frame import Frame
from .padding import Pair, padding_pairs

FLOAT_DTYPES = ("float32", "float64", "float16", "bfloat16")
INTEGER_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
MAXIMUM_DTYPES = (*FLOAT_DTYPES, *INTEGER_DTYPES)
MEAN_DTYPES = (*FLOAT_DTYPES, "complex64", "complex128")
AVERAGE_DTYPES = (*MEAN_DTYPES, "int64")

MAX_REACH = 2**61
"""Kernels reach over fewer elements than this, so that positions in the padding fit 64 bits."""


class PoolSettings(NamedTuple):
    """The arguments that say which pooling, as the user gave them."""

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: Any = False
    count_include_pad: Any = True
    divisor_override: Any = None
    layout: Any = None


class AdaptiveSettings(NamedTuple):
    """The arguments of an adaptive pooling, as the user gave them."""

    output_size: Any
    layout: Any = None


@dataclass
class PoolCall:
    """One normalised call: which windows, on which arrays, and how they lie."""

    windows: Windows
    frame: Frame
    input_shape: tuple[int, ...]
    result_shape: tuple[int, ...]
    input: np.ndarray | None = None
    output_gradient: np.ndarray | None = None
    indices: np.ndarray | None = None
    out: np.ndarray | None = None
    user_shape: tuple[int, ...] | None = None
    """The result's shape for the user, where that has other axes of size 1 than ``result_shape``."""
    gradient_shape: tuple[int, ...] | None = None
    """The same for ``input_shape``, of the gradient."""
    backend: Backend = CPU

    def has(self, indices: np.ndarray) -> bool:
        """Whether all indices are -1 or those of elements of a plane."""
        return bool(self.backend.pooling.are_within(indices, math.prod(self.windows.input_size)))


def forward(
    rank: int, settings: PoolSettings | AdaptiveSettings, dtypes: Sequence[str], x: Any, out: Any = None
) -> PoolCall:
    """A pooling of ``x``, whose dtype is one of ``dtypes``."""
    x = as_array("x", x)
    check_dtypes(dtypes, x=x)
    call = _describe(rank, x.shape, settings)
    call.input, call.backend = x, backend_of(x)
    call.out = None if out is None else check_out(out, call.result_shape, x.dtype, x)
    return call


def average_gradient(
    rank: int, settings: PoolSettings | AdaptiveSettings, dtypes: Sequence[str], dy: Any, x: Any
) -> PoolCall:
    """The gradient for ``x`` (or its shape) of an average."""
    dy = as_array("dy", dy)
    shape, given = shape_and_array("x", x)
    check_dtypes(dtypes, dy=dy, x=given)
    call = _describe(rank, shape, settings)
    check_shape("dy", dy, call.result_shape)
    call.output_gradient, call.backend = dy, backend_of(dy)
    return call


def maximum_gradient(
    rank: int, settings: PoolSettings | AdaptiveSettings, dy: Any, x: Any, indices: Any = None
) -> PoolCall:
    """The gradient for ``x`` of a maximum; with ``indices`` the shape of x is enough."""
    dy = as_array("dy", dy)
    shape, given = shape_and_array("x", x)
    if given is None and indices is None:
        raise bad_type("x", x, "an array where indices are not given")
    check_dtypes(FLOAT_DTYPES, dy=dy, x=given)
    call = _describe(rank, shape, settings)
    check_shape("dy", dy, call.result_shape)
    call.output_gradient, call.input, call.backend = dy, given, backend_of(dy)
    if indices is not None:
        call.indices = _checked_indices(indices, call)
    return call


def boolean(argument: str, value: Any) -> bool:
    """``value`` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise bad_type(argument, value, "True or False")
    return bool(value)


def _checked_indices(indices: Any, call: PoolCall) -> np.ndarray:
    array = as_array("indices", indices)
    check_same_place(dy=call.output_gradient, indices=array)
    if array.dtype.newbyteorder("=") != np.int64:
        raise bad_type("indices", f"dtype {array.dtype}", "int64, as the forward function returns them")
    check_shape("indices", array, call.result_shape)
    if not call.has(array):
        plane = math.prod(call.windows.input_size)
        raise unfit("indices", f"indices {array.min()}..{array.max()}", f"-1..{plane - 1}, flat in a plane of x")
    return array


def result_shape(
    rank: int, shape: Sequence[int], settings: PoolSettings | AdaptiveSettings, argument: str
) -> tuple[int, ...]:
    """The shape of a pooling of an array of ``shape``, which ``argument`` gave."""
    return _describe(rank, shape, settings, argument).result_shape


def _describe(
    rank: int, shape: Sequence[int], settings: PoolSettings | AdaptiveSettings, argument: str = "x"
) -> PoolCall:
    frame = Frame.of(rank, argument, shape, settings.layout, None)
    batch, channels, sizes = frame.data_sizes(shape)
    if min(sizes) < 1:
        raise unfit(argument, f"shape {tuple(shape)}", "spatial sizes of 1 or more")
    if isinstance(settings, AdaptiveSettings):
        blamed, windows = "output_size", _lifted(_adaptive_axes(sizes, settings.output_size))
    else:
        blamed, windows = "padding", _lifted(_sliding_axes(sizes, settings), **_divisor(settings))
    check_addressable(argument, shape)
    result = frame.data_shape((batch, channels, *windows.output_size))
    check_addressable(blamed, result)
    return PoolCall(windows, frame, tuple(shape), result)


def _lifted(axes: Sequence[WindowAxis], divisor: int = 0, count_padding: bool = True) -> Windows:
    """Windows over three axes, the leading ones of size 1."""
    leading = (WindowAxis(1, 1, 1),) * (3 - len(axes))
    return Windows((*leading, *axes), divisor, count_padding)  # type: ignore[arg-type]


def _divisor(settings: PoolSettings) -> dict[str, Any]:
    count_padding = boolean("count_include_pad", settings.count_include_pad)
    if settings.divisor_override is None:
        return {"count_padding": count_padding}
    divisor = integer("divisor_override", settings.divisor_override, allowed="None or an int other than 0")
    if divisor == 0 or abs(divisor) >= 2**63:
        raise bad_value("divisor_override", divisor, "None or an int other than 0")
    return {"divisor": divisor, "count_padding": count_padding}


def _sliding_axes(sizes: Sequence[int], settings: PoolSettings) -> list[WindowAxis]:
    rank = len(sizes)
    kernel = per_axis("kernel_size", settings.kernel_size, rank, 1)
    is_given = settings.stride is not None and not (is_sequence(settings.stride) and len(settings.stride) == 0)
    stride = per_axis("stride", settings.stride, rank, 1) if is_given else kernel
    dilation = per_axis("dilation", settings.dilation, rank, 1)
    ceil_mode = boolean("ceil_mode", settings.ceil_mode)
    reach = tuple(step * (taps - 1) + 1 for step, taps in zip(dilation, kernel, strict=True))
    if max(reach) >= MAX_REACH:
        raise bad_value("kernel_size", settings.kernel_size, f"windows that reach over fewer than {MAX_REACH} elements")
    pads = padding_pairs(settings.padding, sizes, kernel, stride, dilation)
    _check_padding(settings.padding, pads, kernel, reach)
    outputs = [
        _outputs(size, pad, extent, step, ceil_mode)
        for size, pad, extent, step in zip(sizes, pads, reach, stride, strict=True)
    ]
    if min(outputs) < 1:
        room = tuple(size + sum(pad) for size, pad in zip(sizes, pads, strict=True))
        raise unfit("kernel_size", f"windows that reach over {reach} elements", f"at most the padded input, {room}")
    return [
        # The stride of a single output is never taken; 1 keeps products with it small.
        WindowAxis(size, count, taps, step if count > 1 else 1, before, after, step_inside)
        for size, count, taps, step, (before, after), step_inside in zip(
            sizes, outputs, kernel, stride, pads, dilation, strict=True
        )
    ]


def _outputs(size: int, pad: Pair, extent: int, step: int, ceil_mode: bool) -> int:
    room = size + sum(pad) - extent
    outputs = (room + (step - 1 if ceil_mode else 0)) // step + 1
    # A last window that would start in the padding after the input is left out.
    return outputs - 1 if ceil_mode and (outputs - 1) * step >= size + pad[0] else outputs


def _check_padding(padding: Any, pads: Sequence[Pair], kernel: Sequence[int], reach: Sequence[int]) -> None:
    if isinstance(padding, str):
        return
    if not is_sequence(padding) or not any(is_sequence(item) for item in padding):
        most = tuple(taps // 2 for taps in kernel)
        if any(before > limit for (before, _), limit in zip(pads, most, strict=True)):
            raise bad_value("padding", padding, f"at most half the kernel size: {most}")
        return
    if any(not 0 <= number < extent for pair, extent in zip(pads, reach, strict=True) for number in pair):
        allowed = tuple(extent - 1 for extent in reach)
        raise bad_value("padding", padding, f"pairs of 0 or more and less than a window reaches: at most {allowed}")


def _adaptive_axes(sizes: Sequence[int], output_size: Any) -> list[WindowAxis]:
    rank = len(sizes)
    allowed = f"an int, None or {rank} of them, each 0 or more" if rank > 1 else "an int, 0 or more, or None"
    items = list(output_size) if is_sequence(output_size) else [output_size]
    items = items * rank if len(items) == 1 else items
    if len(items) != rank:
        raise bad_value("output_size", output_size, allowed)
    outputs = [
        size if item is None else integer("output_size", item, output_size, allowed)
        for item, size in zip(items, sizes, strict=True)
    ]
    if not all(0 <= count < 2**62 for count in outputs):
        raise bad_value("output_size", output_size, allowed)
    return [WindowAxis.shared(size, count) for size, count in zip(sizes, outputs, strict=True)]
