"""The arguments that say which convolution, checked against shapes: a Described problem, before any direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._backend import exact
from .._border import Border
from .._config import check_precision, get_precision
from .._errors import bad_value, unfit
from .._once import once
from .._problem import WEIGHT_LAYOUTS, ConvProblem, Direction, Epilogue
from .arguments import check_addressable, groups_count, per_axis
from .frame import Frame
from .padding import BLANK, Pair, axis_indices, check_mode_padding, mode_names, padding_pairs
from .transposed import transposed_sizes


class Settings(NamedTuple):
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
    depthwise: bool = False
    """The number of groups is that of x's channels; ``groups`` is not read."""
    allow_empty: bool = False
    """A kernel that reaches over more than the padded input gives a result without elements."""


GivenSettings = tuple[Any, ...]
"""Settings, or its fields in their order: functions that are called again and again make no Settings."""


KEPT_DESCRIBED = 4096
KEPT_PROBLEMS = 16
_known_settings: dict[object, _Checked] = {}
_known: dict[object, Described] = {}
"""What was described before; a Described keeps its problems, and these keep their hashes."""


@dataclass(frozen=True)
class Described:
    """A forward problem of the shapes given, before any direction; of a transposed convolution, its adjoint's.

    ``modes`` and ``pads`` are those of each spatial axis, and ``sizes`` the spatial sizes before modes have padded.
    """

    problem: ConvProblem
    frame: Frame
    transposed: bool
    modes: tuple[str, ...]
    pads: tuple[Pair, ...]
    sizes: tuple[int, ...]
    _problems: dict[object, ConvProblem] = field(default_factory=dict, compare=False, repr=False)

    def problem_of(self, direction: Direction, epilogue: Epilogue | None = None) -> ConvProblem:
        """The problem of a direction of the called function; transposed functions swap forward and backward_input."""
        if self.transposed and direction != "backward_weight":
            direction = "forward" if direction == "backward_input" else "backward_input"
        if direction == "forward" and not epilogue:
            return self.problem
        key = direction, epilogue
        found = self._problems.get(key)
        if found is None:
            if len(self._problems) >= KEPT_PROBLEMS:
                self._problems.clear()
            found = self.problem.replace(direction=direction, epilogue=epilogue or Epilogue())
            self._problems[key] = found
        return found

    @once
    def x_shape(self) -> tuple[int, ...]:
        """The user's shape of x."""
        if self.transposed:
            return self.frame.data_shape(self.problem.output_shape)
        sizes = (*self.problem.input_size[: 3 - self.frame.rank], *self.sizes)
        return self.frame.data_shape((self.problem.batch, self.problem.in_channels, *sizes))

    @once
    def w_shape(self) -> tuple[int, ...]:
        """The user's shape of w."""
        return self.frame.weights_shape(self.problem.weight_shape)

    @once
    def y_shape(self) -> tuple[int, ...]:
        """The user's shape of the forward result."""
        return self.frame.data_shape(self.problem.input_shape if self.transposed else self.problem.output_shape)

    @property
    def y_channels(self) -> int:
        """Channels of the forward result, the length of a bias."""
        return self.problem.in_channels if self.transposed else self.problem.out_channels

    @once
    def border(self) -> Border | None:
        """The padding modes' padding; None where there are only zeros, which the problem pads."""
        if all(mode in BLANK for mode in self.modes):
            return None
        lead = 3 - self.frame.rank
        indices = [
            None if pair == (0, 0) or mode in BLANK else axis_indices(mode, size, pair)
            for mode, size, pair in zip(self.modes, self.sizes, self.pads, strict=True)
        ]
        return Border((*(1,) * lead, *self.sizes), (*(None,) * lead, *indices))  # type: ignore[arg-type]


def describe(
    rank: int,
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    dtype: str,
    settings: GivenSettings,
    x_name: str = "x",
    w_name: str = "w",
) -> Described:
    """Check shapes and settings against each other; the names are those of the arguments that gave the shapes."""
    s = Settings(*settings)
    if s.precision is None:
        s = s._replace(precision=get_precision())
    of_settings = exact((rank, s))
    key = None if of_settings is None else (of_settings, tuple(x_shape), tuple(w_shape), dtype)
    found = None if key is None else _known.get(key)
    if found is None:
        found = _describe(rank, x_shape, w_shape, dtype, s, of_settings, x_name, w_name)
        if key is not None:
            if len(_known) >= KEPT_DESCRIBED:
                _known.clear()
            _known[key] = found
    return found


class _Checked(NamedTuple):
    """What settings say whatever the shapes."""

    groups: int
    """1 where they follow from the shapes."""
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    precision: str
    modes: tuple[str, ...]
    pads: Sequence[Pair] | None
    """None where they depend on sizes."""

    @classmethod
    def of(cls, rank: int, s: Settings) -> _Checked:
        groups = 1 if s.depthwise else groups_count(s.groups)
        stride = per_axis("stride", s.stride, rank, 1)
        dilation = per_axis("dilation", s.dilation, rank, 1)
        precision, modes = check_precision("precision", s.precision), mode_names(s.padding_mode, rank)
        if s.transposed or isinstance(s.padding, str):
            return cls(groups, stride, dilation, precision, modes, None)
        blank = (1,) * rank
        return cls(groups, stride, dilation, precision, modes, padding_pairs(s.padding, blank, blank, stride, dilation))


def _checked(rank: int, s: Settings, key: object) -> _Checked:
    """The same; kept for the settings' key, if they have one."""
    found = None if key is None else _known_settings.get(key)
    if found is None:
        found = _Checked.of(rank, s)
        if key is not None:
            if len(_known_settings) >= KEPT_DESCRIBED:
                _known_settings.clear()
            _known_settings[key] = found
    return found


def _describe(
    rank: int,
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    dtype: str,
    s: Settings,
    key: object,
    x_name: str,
    w_name: str,
) -> Described:
    """``key``: of the settings alone."""
    frame = Frame.of(rank, x_name, x_shape, s.layout, s.w_layout)
    if len(w_shape) != rank + 2:
        raise unfit(w_name, f"shape {tuple(w_shape)}", f"{rank + 2} axes")
    batch, channels, sizes = frame.data_sizes(x_shape)
    filters, per_group, kernel = frame.weight_sizes(w_shape)
    if min(kernel) < 1:
        raise unfit(w_name, f"kernel size {kernel}", "1 or more on every axis")
    groups, stride, dilation, precision, modes, fixed_pads = _checked(rank, s, key)
    if s.depthwise:
        groups = _depthwise_groups(channels, filters, per_group, w_shape, w_name)
    if filters % groups:
        raise bad_value("groups", groups, f"a divisor of {filters}, the first channel axis of {w_name}")
    expected = filters if s.transposed else per_group * groups
    if channels != expected:
        allowed = f"{expected} channels for {w_name} of shape {tuple(w_shape)} in {groups} groups"
        raise unfit(x_name, f"{channels} channels in shape {tuple(x_shape)}", allowed)
    pads: Sequence[Pair]
    if s.transposed:
        if any(mode != "zeros" for mode in modes):
            raise bad_value("padding_mode", s.padding_mode, "zeros for a transposed convolution")
        resize = (s.padding, s.output_padding, s.output_size, s.allow_empty)
        sizes, pads = transposed_sizes(sizes, kernel, stride, dilation, *resize, x_name)
        channels = per_group * groups
    else:
        pads = padding_pairs(s.padding, sizes, kernel, stride, dilation) if fixed_pads is None else fixed_pads
        if not s.allow_empty:
            _check_reach(sizes, pads, kernel, dilation, w_name)
    user_sizes, user_pads = tuple(sizes), tuple(pads)
    if any(mode not in BLANK for mode in modes):
        sizes, pads = _padded(modes, sizes, pads)
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
        weight_layout=frame.weight_layout if frame.weight_layout in WEIGHT_LAYOUTS else "OIDHW",  # type: ignore[arg-type]
        precision=precision if dtype == "float32" else "high",
    )
    for shape in (problem.input_shape, problem.output_shape):
        check_addressable(x_name, shape)
    return Described(problem, frame, s.transposed, modes, user_pads, user_sizes)


def _padded(modes: Sequence[str], sizes: Sequence[int], pads: Sequence[Pair]) -> tuple[tuple[int, ...], list[Pair]]:
    """The sizes after the modes that repeat elements have padded, and the padding that is left to the problem."""
    padded, left = [], []
    for mode, size, pair in zip(modes, sizes, pads, strict=True):
        if mode not in BLANK:
            check_mode_padding(mode, size, pair)
        padded.append(size if mode in BLANK else max(size + sum(pair), 0))
        left.append(pair if mode in BLANK else (0, 0))
    return tuple(padded), left


def _depthwise_groups(channels: int, filters: int, per_group: int, w_shape: Sequence[int], w_name: str) -> int:
    """The groups of a depthwise convolution: x's channels, each with filters / channels kernels of its own."""
    if per_group != 1 or channels < 1 or filters % channels:
        allowed = f"1 input channel and a multiple of the {channels} channels of x as output channels"
        raise unfit(w_name, f"shape {tuple(w_shape)}", allowed)
    return channels


def _check_reach(
    sizes: Sequence[int], pads: Sequence[Pair], kernel: Sequence[int], dilation: Sequence[int], w_name: str
) -> None:
    axes = zip(dilation, kernel, sizes, pads, strict=True)
    if any(step * (k - 1) >= size + before + after for step, k, size, (before, after) in axes):
        reach = tuple(step * (k - 1) + 1 for step, k in zip(dilation, kernel, strict=True))
        room = tuple(size + sum(pair) for size, pair in zip(sizes, pads, strict=True))
        raise unfit(w_name, f"a kernel that reaches over {reach} elements", f"at most the padded input, {room}")
