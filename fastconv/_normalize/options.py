"""Options of convolutions: calls with them become calls without, of changed arrays and settings.

A Lowering knows both ways: from the user's arrays to those of the call without options, and of gradients back.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np

from .._arrays import as_array, dtype_name
from .._backend import exact
from .._config import get_precision
from .._errors import bad_type, bad_value, unfit
from .arguments import integer, per_axis
from .call import check_shape
from .convolution import FLOAT_DTYPES
from .frame import Frame
from .lowering import BatchGroups, Spread, Step, Transposed, zero_spread
from .padding import MODES, Pair, padding_pairs
from .settings import KEPT_DESCRIBED, Described, GivenSettings, Settings, describe


class CastOptions(TypedDict, total=False):
    """Options of all convolutions."""

    promote: bool
    accumulate_dtype: Any
    allow_empty: bool


class ConvOptions(CastOptions, total=False):
    """Options of convolutions that are not transposed ones."""

    padding_value: complex
    input_dilation: Any
    batch_group_count: int


class Checked(NamedTuple):
    """The options, each by itself."""

    promote: bool = False
    accumulate_dtype: str | None = None
    allow_empty: bool = False
    padding_value: complex = 0
    input_dilation: tuple[int, ...] = (1, 1, 1)
    batch_group_count: int = 1


@dataclass(frozen=True)
class Lowering:
    """How one call with options is computed by one without."""

    frame: Frame
    settings: Settings
    described: Described
    """What the call without options computes."""
    dtype: np.dtype
    """Of the results."""
    wide: np.dtype
    """Of what is computed."""
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    x_steps: tuple[Step, ...] = ()
    w_steps: tuple[Step, ...] = ()

    @property
    def lowered_x_shape(self) -> tuple[int, ...]:
        """The shape of x in the call without options."""
        return _shape_after(self.x_steps, self.x_shape)

    @property
    def lowered_w_shape(self) -> tuple[int, ...]:
        """The shape of w in the call without options."""
        return _shape_after(self.w_steps, self.w_shape)

    def cast(self, array: Any) -> Any:
        """An operand in the dtype that is computed in."""
        return array if array is None or array.dtype == self.wide else array.astype(self.wide)

    def x(self, x: Any) -> Any:
        """x of the call without options."""
        return _applied(self.x_steps, self.cast(x))

    def w(self, w: Any) -> Any:
        """w of the call without options."""
        return _applied(self.w_steps, self.cast(w))

    def dx(self, dx: Any) -> Any:
        """The gradient for the user's x."""
        return _undone(self.x_steps, dx, self.x_shape)

    def dw(self, dw: Any) -> Any:
        """The gradient for the user's w."""
        return _undone(self.w_steps, dw, self.w_shape)


_known: dict[object, Lowering] = {}
"""What was lowered before."""


def lowering(
    rank: int,
    settings: GivenSettings,
    options: Mapping[str, Any],
    x: Any,
    w: Any,
    dtypes: Mapping[str, Any],
    names: tuple[str, str] = ("x", "w"),
) -> Lowering:
    """The Lowering of a call with x and w of these shapes and with arrays of these ``dtypes``, by their arguments."""
    of_dtypes = tuple((name, None if dtype is None else dtype_name(dtype)) for name, dtype in dtypes.items())
    key = exact((rank, tuple(settings), tuple(options.items()), tuple(x), tuple(w), of_dtypes, names, get_precision()))
    found = None if key is None else _known.get(key)
    if found is None:
        found = _lowering(rank, settings, options, x, w, dtypes, names)
        if key is not None:
            if len(_known) >= KEPT_DESCRIBED:
                _known.clear()
            _known[key] = found
    return found


def _lowering(
    rank: int,
    settings: GivenSettings,
    options: Mapping[str, Any],
    x: Any,
    w: Any,
    dtypes: Mapping[str, Any],
    names: tuple[str, str],
) -> Lowering:
    s = Settings(*settings)
    o = check_options(rank, s, options)
    dtype, wide = _dtypes(o, dtypes)
    frame = Frame.of(rank, names[0], x, s.layout, s.w_layout)
    s = s._replace(allow_empty=o.allow_empty)
    if s.transposed:
        described = describe(rank, x, w, dtype.name, s, *names)
        return Lowering(frame, s, described, dtype, wide, tuple(x), tuple(w))
    if len(w) != rank + 2:
        raise unfit(names[1], f"shape {tuple(w)}", f"{rank + 2} axes")
    steps: list[Step] = []
    if o.batch_group_count > 1:
        steps.append(_batch_groups(frame, s, o.batch_group_count, tuple(x), tuple(w), names))
        s = s._replace(groups=o.batch_group_count)
    dilated, modes = zero_spread(frame, _shape_after(tuple(steps), tuple(x)), o.input_dilation), _modes(s, rank)
    s = s._replace(padding_mode=tuple("zeros" if mode == "constant" else mode for mode in modes))
    spread, own = dilated, s
    if o.padding_value != 0 and "constant" in modes:
        pads = _pads(frame, s, dilated, w)
        added = [(max(b, 0), max(a, 0)) if m == "constant" else (0, 0) for (b, a), m in zip(pads, modes, strict=True)]
        spread = dilated.padded(added, o.padding_value)
        left = [(b - more[0], a - more[1]) for (b, a), more in zip(pads, added, strict=True)]
        own = s._replace(padding=left)
    described = describe(rank, spread.shape, w, dtype.name, own, *names)
    if (
        max(o.input_dilation) > 1
        and spread is dilated
        and set(described.modes) == {"zeros"}
        and set(described.problem.stride) == {1}
        and not described.problem.is_empty
    ):
        # The same as a transposed convolution, which multiplies by none of the zeros.
        transposed = Transposed(frame, described.problem.groups)
        own = _transposed_settings(frame, described, o.input_dilation)
        inner = describe(rank, dilated.source, transposed.shape(tuple(w)), dtype.name, own, *names)
        return Lowering(frame, own, inner, dtype, wide, tuple(x), tuple(w), tuple(steps), (transposed,))
    if spread.changes:
        steps.append(spread)
    return Lowering(frame, own, described, dtype, wide, tuple(x), tuple(w), tuple(steps))


def check_options(rank: int, s: Settings, options: Mapping[str, Any]) -> Checked:
    """The options of a call with these settings."""
    known = CastOptions.__annotations__ if s.transposed else ConvOptions.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"{name}: got an argument that this function does not have; allowed: {', '.join(known)}")
    found = Checked(**options)
    for name in ("promote", "allow_empty"):
        if not isinstance(getattr(found, name), (bool, np.bool_)):
            raise bad_type(name, getattr(found, name), "True or False")
    count = integer("batch_group_count", found.batch_group_count, allowed="a positive int")
    if count < 1 or (count > 1 and (s.depthwise or s.groups != 1)):
        raise bad_value("batch_group_count", count, "a positive int, 1 unless groups is 1")
    value = found.padding_value
    if isinstance(value, bool) or not isinstance(value, (numbers.Number, np.number)):
        raise bad_type("padding_value", value, "a number")
    if not s.transposed and value != 0 and "constant" not in _modes(s, rank):
        raise bad_value("padding_value", value, 'a number other than 0 with padding_mode "constant" alone')
    return found._replace(
        accumulate_dtype=_accumulated(found.accumulate_dtype),
        input_dilation=per_axis("input_dilation", options.get("input_dilation", 1), rank, 1),
        batch_group_count=count,
    )


def _accumulated(value: Any) -> str | None:
    if value is None:
        return None
    try:
        name = np.dtype(value).name
    except Exception:  # of several types, as NumPy cannot make sense of it
        name = ""
    if name not in ("float32", "float64"):
        raise bad_value("accumulate_dtype", value, "None, float32, float64")
    return name


def _dtypes(o: Checked, dtypes: Mapping[str, Any]) -> tuple[np.dtype, np.dtype]:
    """The dtype of results, and the one that is computed in."""
    (first, dtype), *others = ((name, dtype) for name, dtype in dtypes.items() if dtype is not None)
    dtype = dtype.newbyteorder("=")
    for name, other in others:
        if o.promote:
            try:
                dtype = np.result_type(dtype, other)
            except TypeError:
                allowed = f"a dtype that NumPy can promote together with {dtype}"
                raise bad_type(name, f"dtype {other}", allowed) from None
        elif other.newbyteorder("=") != dtype:
            raise bad_type(name, f"dtype {other}", f"{dtype}, the dtype of {first}, unless promote is True")
    if dtype_name(dtype) not in FLOAT_DTYPES:
        raise bad_type(first, f"dtype {dtype}", ", ".join(FLOAT_DTYPES))
    if o.accumulate_dtype is None:
        return dtype, dtype
    wide = np.result_type(dtype, np.dtype(o.accumulate_dtype))
    if o.accumulate_dtype == "float32":
        if dtype_name(dtype) in ("float64", "complex128"):
            raise bad_value("accumulate_dtype", o.accumulate_dtype, f"None or float64 with arrays of {dtype}")
        wide = dtype  # as ever
    return dtype, wide


def _modes(s: Settings, rank: int) -> tuple[str, ...]:
    """The padding modes, of which those with a constant are called so; wrong ones as they are."""
    given = s.padding_mode
    items = given if isinstance(given, (tuple, list)) else [given] * rank
    return tuple(MODES.get(item.lower(), item) if isinstance(item, str) else item for item in items)


def _batch_groups(
    frame: Frame, s: Settings, count: int, x: tuple[int, ...], w: tuple[int, ...], names: tuple[str, str]
) -> BatchGroups:
    if not frame.batched or x[0] % count:
        raise unfit(names[0], f"shape {x}", f"a batch that batch_group_count, {count}, divides")
    filters, channels, _ = frame.weight_sizes(w)
    if filters % count:
        raise bad_value("batch_group_count", count, f"a divisor of {filters}, the output channels of {names[1]}")
    given = frame.data_sizes(x)[1]
    if given != channels:
        raise unfit(names[0], f"{given} channels in shape {x}", f"{channels}, those of {names[1]}")
    return BatchGroups(count, frame.channels_last)


def _pads(frame: Frame, s: Settings, dilated: Spread, w: Any) -> list[Pair]:
    rank = frame.rank
    stride, dilation = per_axis("stride", s.stride, rank, 1), per_axis("dilation", s.dilation, rank, 1)
    sizes, kernel = frame.data_sizes(dilated.shape)[2], frame.weight_sizes(w)[2]
    return padding_pairs(s.padding, sizes, kernel, stride, dilation)


def _transposed_settings(frame: Frame, described: Described, input_dilation: tuple[int, ...]) -> Settings:
    """Those of the transposed convolution with the stride ``input_dilation`` that computes the described one."""
    p, lead = described.problem, 3 - frame.rank
    reaches = [step * (taps - 1) for step, taps in zip(p.dilation[lead:], p.kernel_size[lead:], strict=True)]
    pads = [(reach - b, reach - a) for reach, (b, a) in zip(reaches, p.padding[lead:], strict=True)]
    layout = "channels_last" if frame.channels_last else None
    return Settings(
        input_dilation, pads, p.dilation[lead:], p.groups, layout=layout, precision=p.precision, transposed=True
    )


def operands(**values: Any) -> dict[str, Any]:
    """Arguments as arrays, by their names; None stays."""
    return {name: None if value is None else as_array(name, value) for name, value in values.items()}


def check_gradient(low: Lowering, dy: Any) -> None:
    """A ValueError unless dy has the shape of the result."""
    check_shape("dy", dy, low.described.y_shape)


def _shape_after(steps: tuple[Step, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    for step in steps:
        shape = step.shape_of(shape)
    return shape


def _applied(steps: tuple[Step, ...], array: Any) -> Any:
    for step in steps:
        array = step.apply(array)
    return array


def _undone(steps: tuple[Step, ...], array: Any, shape: tuple[int, ...]) -> Any:
    if array is None or not steps:
        return array
    shapes = [shape]
    for step in steps[:-1]:
        shapes.append(step.shape_of(shapes[-1]))
    for step, before in zip(reversed(steps), reversed(shapes), strict=True):
        array = step.adjoint(array, before)
    return array
