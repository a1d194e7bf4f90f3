"""The arguments of every convolution, forward and backward, to a ConvCall: a problem, its frame and its arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arrays import as_array, check_out
from .._config import check_precision, get_precision
from .._errors import bad_type, bad_value
from .._problem import DTYPES, ConvProblem, Direction, Epilogue
from .arguments import epilogue_of, groups_count, integer, per_axis, sequence
from .frame import Frame
from .padding import Pair, mode_name, padded, padded_gradient, padding_pairs

FLOAT_DTYPES = tuple(name for name in DTYPES if name != "int8")
MOST_BYTES = 2**63 - 1


@dataclass(frozen=True)
class Settings:
    """The arguments that say which convolution, as the user gave them."""

    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: Any = 1
    padding_mode: Any = "zeros"
    layout: Any = None
    w_layout: Any = None
    precision: Any = None
    output_padding: Any = 0
    output_size: Any = None
    transposed: bool = False


@dataclass
class ConvCall:
    """One normalised call: what to compute, on which arrays, and how the result looks to the user."""

    problem: ConvProblem
    frame: Frame
    input: np.ndarray | None = None
    weight: np.ndarray | None = None
    output: np.ndarray | None = None
    bias: np.ndarray | None = None
    add: np.ndarray | None = None
    out: np.ndarray | None = None
    finish: Callable[[np.ndarray], np.ndarray] = field(default=lambda result: result)
    """Applied to the result in the user's layout."""

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the result in the user's layout."""
        shape = self.problem.result_shape
        is_weight = self.problem.direction == "backward_weight"
        return self.frame.weights_shape(shape) if is_weight else self.frame.data_shape(shape)


@dataclass(frozen=True)
class Described:
    """A forward problem of the shapes given, before any direction; ``pads`` are those of a padding mode."""

    problem: ConvProblem
    frame: Frame
    mode: str
    pads: tuple[Pair, ...]
    sizes: tuple[int, ...]

    def padded(self, x: np.ndarray) -> np.ndarray:
        """``x`` with the padding mode's padding applied; itself for zeros, which the problem pads."""
        return x if self.mode == "zeros" else padded(x, self.mode, self.pads, self.frame.first_spatial_axis)

    def padded_gradient(self, dx: np.ndarray) -> np.ndarray:
        """The adjoint of ``padded``."""
        if self.mode == "zeros":
            return dx
        return padded_gradient(dx, self.mode, self.pads, self.sizes, self.frame.first_spatial_axis)


def check_dtypes(allowed: Sequence[str], **arrays: np.ndarray | None) -> str:
    """The common dtype name of the arrays; a TypeError where they differ or are not allowed."""
    names = {argument: array.dtype.name for argument, array in arrays.items() if array is not None}
    first, name = next(iter(names.items()))
    for argument, other in names.items():
        if other not in allowed:
            raise bad_type(argument, f"dtype {other}", ", ".join(allowed))
        if other != name:
            raise bad_type(argument, f"dtype {other}", f"{name}, the dtype of {first}; nothing is cast silently")
    return name


def describe(rank: int, shape: Sequence[int], w_shape: Sequence[int], dtype: str, s: Settings) -> Described:
    """Check shapes and settings; the data array of ``shape`` is x (of a transposed convolution too)."""
    frame = Frame.of(rank, "x", shape, s.layout, s.w_layout)
    if len(w_shape) != rank + 2:
        raise bad_value("w", f"an array of shape {tuple(w_shape)}", f"{rank + 2} axes")
    batch, channels, sizes = frame.data_sizes(shape)
    filters, per_group, kernel = frame.weight_sizes(w_shape)
    groups = groups_count(s.groups)
    stride = per_axis("stride", s.stride, rank, 1)
    dilation = per_axis("dilation", s.dilation, rank, 1)
    precision = get_precision() if s.precision is None else check_precision(s.precision)
    if min(kernel) < 1:
        raise bad_value("w", f"kernel size {kernel}", "1 or more on every axis")
    if filters % groups:
        raise bad_value("groups", groups, f"a divisor of the {filters} channels of w's first axis")
    expected = filters if s.transposed else per_group * groups
    if channels != expected:
        raise bad_value(
            "x", f"{channels} channels", f"{expected} channels for w of shape {tuple(w_shape)} in {groups} groups"
        )
    mode = mode_name(s.padding_mode)
    pads: Sequence[Pair]
    if s.transposed:
        if mode != "zeros":
            raise bad_value("padding_mode", s.padding_mode, "zeros for a transposed convolution")
        sizes, pads = _transposed_sizes(rank, sizes, kernel, stride, dilation, s)
        channels = per_group * groups
    else:
        pads = padding_pairs(s.padding, sizes, kernel, stride, dilation)
    user_sizes, user_pads = sizes, tuple(pads)
    if mode != "zeros":
        sizes = tuple(size + before + after for size, (before, after) in zip(sizes, pads, strict=True))
        pads = [(0, 0)] * rank
    lead = 3 - rank
    problem = ConvProblem(
        direction="forward",
        batch=batch,
        in_channels=channels,
        out_channels=filters,
        input_size=(1,) * lead + tuple(sizes),  # type: ignore[arg-type]
        kernel_size=(1,) * lead + tuple(kernel),  # type: ignore[arg-type]
        stride=(1,) * lead + stride,  # type: ignore[arg-type]
        padding=((0, 0),) * lead + tuple(pads),  # type: ignore[arg-type]
        dilation=(1,) * lead + dilation,  # type: ignore[arg-type]
        groups=groups,
        dtype=dtype,
        layout="channels_last" if frame.channels_last else "channels_first",
        weight_layout=frame.weight_layout,  # type: ignore[arg-type]
        precision=precision if dtype == "float32" else "high",
    )
    _check_sizes(problem, kernel, user_sizes, user_pads)
    return Described(problem, frame, mode, user_pads, tuple(user_sizes))


def _check_sizes(problem: ConvProblem, kernel: Sequence[int], sizes: Sequence[int], pads: Sequence[Pair]) -> None:
    if min(problem.output_size) < 1:
        reach = tuple(d * (k - 1) + 1 for d, k in zip(problem.dilation[3 - len(kernel) :], kernel, strict=True))
        room = tuple(size + sum(pair) for size, pair in zip(sizes, pads, strict=True))
        raise bad_value("w", f"a kernel that reaches over {reach} elements", f"at most the padded input, {room}")
    for shape in (problem.input_shape, problem.output_shape):
        if math.prod(max(size, 1) for size in shape) * 16 > MOST_BYTES:
            raise bad_value("x", f"a problem with an array of shape {shape}", f"arrays below {MOST_BYTES} bytes")


def _transposed_sizes(
    rank: int,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    s: Settings,
) -> tuple[tuple[int, ...], list[Pair]]:
    """Spatial sizes of a transposed convolution's result and the padding of the convolution it is the adjoint of.

    The result's size is free within a stride (``output_padding`` or ``output_size``). The padding after each axis is
    then set so that the convolution of the result has exactly the size of x.
    """
    extra = per_axis("output_padding", s.output_padding, rank, 0)
    word_sizes = tuple(size * step for size, step in zip(sizes, stride, strict=True))
    pads = padding_pairs(s.padding, word_sizes, kernel, stride, dilation)
    smallest = tuple(
        (size - 1) * step + reach * (k - 1) + 1 - before - after
        for size, step, reach, k, (before, after) in zip(sizes, stride, dilation, kernel, pads, strict=True)
    )
    if s.padding in ("same", "same_lower") and isinstance(s.padding, str):
        smallest = word_sizes
    most = tuple(max(step, reach) - 1 for step, reach in zip(stride, dilation, strict=True))
    if s.output_size is not None:
        wanted = _output_size(s.output_size, rank)
        if max(extra):
            raise bad_value("output_padding", s.output_padding, "0 where output_size is given")
        allowed = " x ".join(f"{low}..{low + more}" for low, more in zip(smallest, most, strict=True))
        if any(not low <= size <= low + more for size, low, more in zip(wanted, smallest, most, strict=True)):
            raise bad_value("output_size", s.output_size, allowed)
        result = wanted
    else:
        if any(more > limit for more, limit in zip(extra, most, strict=True)):
            raise bad_value("output_padding", s.output_padding, f"less than the stride or the dilation: at most {most}")
        result = tuple(low + more for low, more in zip(smallest, extra, strict=True))
    if min(result) < 1 or min(sizes) < 1:
        raise bad_value("x", f"spatial sizes {tuple(sizes)}", f"sizes that give a result of 1 or more, not {result}")
    exact = [
        (before, (size - 1) * step + reach * (k - 1) + 1 - before - out)
        for size, step, reach, k, (before, _), out in zip(sizes, stride, dilation, kernel, pads, result, strict=True)
    ]
    return result, exact


def _output_size(value: Any, rank: int) -> tuple[int, ...]:
    allowed = f"{rank} ints" if rank > 1 else "an int"
    items = (
        [value]
        if hasattr(value, "__index__") and not hasattr(value, "__len__")
        else sequence("output_size", value, allowed)
    )
    # As in torch, the whole shape may be given; the spatial sizes are its last axes.
    if len(items) not in (rank, rank + 1, rank + 2):
        raise bad_value("output_size", value, allowed)
    return tuple(integer("output_size", item, value, allowed) for item in items[-rank:])


def _bias_array(bias: Any, channels: int) -> np.ndarray | None:
    if bias is None:
        return None
    array = as_array("bias", bias)
    if array.shape != (channels,):
        raise bad_value("bias", f"an array of shape {array.shape}", f"shape ({channels},)")
    return array


def forward(
    rank: int, x: Any, w: Any, bias: Any, settings: Settings, activation: Any = None, add: Any = None, out: Any = None
) -> ConvCall:
    """A convolution, or with ``settings.transposed`` a transposed one."""
    x, w = as_array("x", x), as_array("w", w)
    described = describe(rank, x.shape, w.shape, x.dtype.name, settings)
    problem = described.problem
    if settings.transposed:
        problem = problem.replace(direction="backward_input")
    bias = _bias_array(bias, problem.result_channels)
    epilogue = epilogue_of(bias, add, activation)
    add = None if add is None else as_array("add", add)
    dtype = check_dtypes(FLOAT_DTYPES, x=x, w=w, bias=bias, add=add)
    if epilogue.activation and dtype.startswith("complex"):
        raise bad_value("activation", activation, "None for complex arrays")
    call = ConvCall(problem.replace(epilogue=epilogue), described.frame, bias=bias, weight=w)
    if settings.transposed:
        call.output = x
    else:
        call.input = described.padded(x)
    if add is not None and add.shape != call.result_shape:
        raise bad_value("add", f"an array of shape {add.shape}", f"the result's shape {call.result_shape}")
    call.add = add
    call.out = None if out is None else check_out(out, call.result_shape, x.dtype)
    return call


def input_gradient(rank: int, shape: Sequence[int], w: Any, dy: Any, settings: Settings) -> ConvCall:
    """The gradient for x (of ``shape``) of a convolution or transposed convolution."""
    w, dy = as_array("w", w), as_array("dy", dy)
    dtype = check_dtypes(FLOAT_DTYPES, dy=dy, w=w)
    described = describe(rank, _shape("input_shape", shape), w.shape, dtype, settings)
    call = _gradient_call(described, "backward_input", settings)
    _check_dy(dy, described, settings)
    call.weight = _conjugate(w)
    if settings.transposed:
        call.input = dy
    else:
        call.output, call.finish = dy, described.padded_gradient
    return call


def weight_gradient(rank: int, x: Any, w_shape: Sequence[int], dy: Any, settings: Settings) -> ConvCall:
    """The gradient for w (of ``w_shape``) of a convolution or transposed convolution."""
    x, dy = as_array("x", x), as_array("dy", dy)
    dtype = check_dtypes(FLOAT_DTYPES, dy=dy, x=x)
    described = describe(rank, x.shape, _shape("weight_shape", w_shape), dtype, settings)
    call = _gradient_call(described, "backward_weight", settings)
    _check_dy(dy, described, settings)
    if settings.transposed:
        call.input, call.output = dy, _conjugate(x)
    else:
        call.input, call.output = _conjugate(described.padded(x)), dy
    return call


def bias_gradient(rank: int, dy: Any, settings: Settings) -> np.ndarray:
    """The gradient for a bias: dy summed over everything but its channels, in float32 for narrower dtypes."""
    dy = as_array("dy", dy)
    frame = Frame.of(rank, "dy", dy.shape, settings.layout, settings.w_layout)
    narrow = dy.dtype.itemsize == 2
    canonical = frame.data(dy.astype(np.float32) if narrow else dy)
    return canonical.sum(axis=(0, 2, 3, 4)).astype(dy.dtype.newbyteorder("="), copy=False)


def _gradient_call(described: Described, direction: Direction, settings: Settings) -> ConvCall:
    """The gradient's problem: that of a transposed convolution's x is the forward convolution."""
    if settings.transposed and direction == "backward_input":
        direction = "forward"
    return ConvCall(described.problem.replace(direction=direction, epilogue=Epilogue()), described.frame)


def _check_dy(dy: np.ndarray, described: Described, settings: Settings) -> None:
    problem = described.problem
    shape = described.frame.data_shape(problem.input_shape if settings.transposed else problem.output_shape)
    if dy.shape != shape:
        raise bad_value("dy", f"an array of shape {dy.shape}", f"the forward result's shape {shape}")


def _conjugate(array: np.ndarray) -> np.ndarray:
    """Gradients of complex convolutions multiply by conjugates, as torch's do."""
    return array.conj() if array.dtype.kind == "c" else array


def _shape(argument: str, shape: Any) -> tuple[int, ...]:
    allowed = "a shape: ints, each 0 or more"
    numbers = tuple(integer(argument, size, shape, allowed) for size in sequence(argument, shape, allowed))
    if numbers and min(numbers) < 0:
        raise bad_value(argument, shape, allowed)
    return numbers
