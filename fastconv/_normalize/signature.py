"""The signature that a plan is made for, checked, and the arrays of a call of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array, dtype_name
from .._backend import BACKENDS, backend_of
from .._config import TUNING, get_precision
from .._errors import bad_type, bad_value, unfit
from .._plan import Immutable
from .._problem import DIRECTIONS, ConvProblem, Direction
from .arguments import epilogue_of, shape_of
from .call import ConvCall, forward_call, input_gradient_call, weight_gradient_call
from .convolution import FLOAT_DTYPES, check_activation
from .settings import Described, Settings, describe

RANKS = {"1d": 1, "2d": 2, "3d": 3}
FAMILIES = {"conv": Settings(), "conv_transpose": Settings(transposed=True), "depthwise_conv": Settings(depthwise=True)}
FUNCTIONS = tuple(family + rank for family in FAMILIES for rank in RANKS)


@dataclass(frozen=True, eq=False)
class PackedWeight(Immutable):
    """A weight in the layout of the algorithm that a plan has chosen; made by ``PlannedConvolution.pack``.

    It is a snapshot: later changes of the array that was packed do not reach it. Pickled, it is its plan and the plain
    weight, which is packed again where it is unpickled: layouts depend on the machine.
    """

    weight: np.ndarray
    """The plain weight, read-only."""
    packed: object
    """What the algorithm made of it; None where it takes the plain weight."""
    made_for: str
    """All that the layout depends on in words; plans that agree on these may share the packed weight."""
    plan: Any
    """The PlannedConvolution that packed it."""

    def __reduce__(self) -> tuple[Callable[..., PackedWeight], tuple[object, ...]]:
        return type(self.plan).pack, (self.plan, self.weight)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise TypeError("a packed weight is for calls of the plan that packed it; its .weight is the array")


@dataclass(frozen=True)
class Signature:
    """What a plan is for: a direction of a function on arrays of one set of shapes and one dtype."""

    function: str
    direction: Direction
    described: Described
    problem: ConvProblem
    """The problem of the direction, without bias and add."""
    arguments: tuple[Any, ...]
    """What ``signature`` made this from, in this process or in another one."""
    backend: str
    """The name of that of the arrays."""


def signature(
    function: Any,
    x_shape: Any,
    w_shape: Any,
    dtype: Any,
    settings: Settings,
    activation: Any,
    direction: Any,
    effort: Any,
    backend: Any = "cpu",
) -> Signature:
    """Check what is to be planned; in ``settings``, those that not every function has may be None."""
    if not isinstance(function, str) or function not in FUNCTIONS:
        raise bad_value("function", function, ", ".join(FUNCTIONS))
    words_of = {"direction": (direction, DIRECTIONS), "effort": (effort, TUNING), "backend": (backend, BACKENDS)}
    for argument, (value, words) in words_of.items():
        if not isinstance(value, str) or value not in words:
            raise bad_value(argument, value, ", ".join(words))
    family = FAMILIES[function[:-2]]
    filled: dict[str, Any] = {"transposed": family.transposed, "depthwise": family.depthwise}
    for argument, default, known in (
        ("groups", 1, not family.depthwise),
        ("output_padding", 0, family.transposed),
        ("output_size", None, family.transposed),
    ):
        value = getattr(settings, argument)
        if value is None:
            filled[argument] = default
        elif not known:
            raise bad_value(argument, value, f"None; {function} has no such argument")
    name = _dtype_name(dtype)
    shapes = shape_of("x_shape", x_shape), shape_of("w_shape", w_shape)
    described = describe(RANKS[function[-2:]], *shapes, name, settings._replace(**filled), "x_shape", "w_shape")
    epilogue = epilogue_of(None, None, activation)
    check_activation(epilogue, name)
    if epilogue and direction != "forward":
        raise bad_value("activation", activation, f"None for direction {direction!r}")
    # Lists may change after the call, and the default precision is another one elsewhere.
    given = copy.deepcopy(settings._replace(precision=settings.precision or get_precision()))
    arguments = function, *shapes, name, given, copy.deepcopy(activation), direction, effort, backend
    return Signature(function, direction, described, described.problem_of(direction, epilogue), arguments, backend)


def call_of(
    s: Signature, problem: ConvProblem, first: Any, second: Any, bias: Any, add: Any, out: Any, made_for: str
) -> ConvCall:
    """A call of the signature, on x, w or dy, w or x, dy; ``made_for`` is what a packed weight has to be made for."""
    for argument, value in (("bias", bias), ("add", add)):
        if value is not None and s.direction != "forward":
            raise unfit(argument, "an array", f"None for direction {s.direction!r}")
    d = s.described
    if s.direction == "backward_weight":
        x, dy = matching("x", first, d.x_shape, s), matching("dy", second, d.y_shape, s)
        return weight_gradient_call(d, problem, x, dy, out)
    packed = None
    if isinstance(second, PackedWeight):
        if second.made_for != made_for:
            raise unfit("w", "a weight packed by another plan", "a weight, or one packed by a plan like this one")
        w, packed = second.weight, second.packed
    else:
        w = matching("w", second, d.w_shape, s)
    if s.direction == "backward_input":
        call = input_gradient_call(d, problem, matching("dy", first, d.y_shape, s), w, out)
    else:
        x = matching("x", first, d.x_shape, s)
        bias = None if bias is None else matching("bias", bias, (d.y_channels,), s)
        add = None if add is None else matching("add", add, d.y_shape, s)
        call = forward_call(d, problem, x, w, bias, add, out)
    call.packed = packed
    return call


def weight_to_pack(s: Signature, w: Any) -> np.ndarray:
    """``w``, if the direction multiplies by a weight."""
    if s.direction == "backward_weight":
        raise unfit("w", "a weight to pack", "no weight: direction 'backward_weight' computes it")
    return matching("w", w, s.described.w_shape, s)


def matching(argument: str, value: Any, shape: tuple[int, ...], s: Signature) -> np.ndarray:
    """``value`` as an array, if it has the shape and dtype of the signature."""
    array = as_array(argument, value)
    dtype, backend = s.described.problem.dtype, backend_of(array)
    if backend.name != s.backend:
        allowed = {
            "cpu": "a NumPy array, as planned; CuPy arrays take backend='gpu'",
            "gpu": "a CuPy array, as planned",
        }
        raise bad_type(argument, backend.place(array), allowed[s.backend])
    if array.shape != shape or dtype_name(array.dtype) != dtype:
        raise unfit(argument, f"{array.dtype} of shape {array.shape}", f"{dtype} of shape {shape}, as planned")
    return array


def _dtype_name(dtype: Any) -> str:
    if not (isinstance(dtype, str) and dtype in FLOAT_DTYPES):
        try:
            dtype = np.dtype(dtype).name
        except Exception:  # of several types, for texts and structures that NumPy cannot make sense of
            raise bad_type("dtype", dtype, ", ".join(FLOAT_DTYPES)) from None
    if dtype not in FLOAT_DTYPES:
        raise bad_value("dtype", dtype, ", ".join(FLOAT_DTYPES))
    return dtype
