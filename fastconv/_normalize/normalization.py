"""The arguments of normalizations and activations, forward and backward, to calls of arrays that fit each other."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array
from .._backend import Backend, backend_of
from .._errors import bad_type, bad_value, unfit
from .._problem import Epilogue
from .._sets import Sets
from .arguments import epilogue_of, integer, is_sequence
from .arrays import check_out, check_same_place
from .call import check_shape
from .convolution import check_dtypes
from .pooling import FLOAT_DTYPES, boolean


@dataclass
class NormalizationCall:
    """One normalised call; statistics that are None are those of x. ``dy``: the call is a gradient's."""

    sets: Sets
    x: Any
    weight: Any
    bias: Any
    mean: Any
    variance: Any
    eps: float
    activation: Epilogue
    add: Any = None
    dy: Any = None
    out: Any = None
    uses_own: bool = True
    """Whether the statistics are those of x itself."""
    needs: tuple[bool, bool, bool] = (True, True, True)

    @property
    def backend(self) -> Backend:
        return backend_of(self.x)


@dataclass
class ActivationCall:
    """One activation of a whole array, or with ``dy`` its gradient."""

    x: Any
    activation: Epilogue
    add: Any = None
    dy: Any = None
    out: Any = None

    @property
    def backend(self) -> Backend:
        return backend_of(self.x)


def batch(x: Any, **arguments: Any) -> NormalizationCall:
    """A normalization of every channel of (N, C, ...)."""
    x = _floats("x", x)
    if x.ndim < 2:
        raise unfit("x", f"shape {x.shape}", "two or more axes: batch, channels")
    return _call(Sets(x.shape, "batch"), x, **arguments)


def group(x: Any, groups: Any, **arguments: Any) -> NormalizationCall:
    """A normalization of groups of channels of (N, C, ...)."""
    x = _floats("x", x)
    if x.ndim < 2:
        raise unfit("x", f"shape {x.shape}", "two or more axes: batch, channels")
    groups = integer("groups", groups)
    if groups < 1 or x.shape[1] % groups:
        raise bad_value("groups", groups, f"a positive divisor of the {x.shape[1]} channels")
    return _call(Sets(x.shape, "group", groups), x, **arguments)


def layer(x: Any, axis: Any, **arguments: Any) -> NormalizationCall:
    """A normalization over axes."""
    x = _floats("x", x)
    given = list(axis) if is_sequence(axis) else [axis]
    axes = [integer("axis", each, axis, "an axis of x, or several") for each in given]
    if not axes or any(not -x.ndim <= each < x.ndim for each in axes):
        raise bad_value("axis", axis, f"axes from {-x.ndim} to {x.ndim - 1}")
    axes = sorted(each % x.ndim for each in axes)
    if len(set(axes)) < len(axes):
        raise bad_value("axis", axis, "every axis once")
    return _call(Sets(x.shape, "layer", axes=tuple(axes)), x, **arguments)


def activation(x: Any, name: Any, add: Any, out: Any) -> ActivationCall:
    """An activation of a whole array."""
    x = _floats("x", x)
    if add is not None:
        add = _like("add", add, x)
    return ActivationCall(x, epilogue_of(None, None, name), add, out=_checked_out(out, x))


def activation_gradient(dy: Any, x: Any, name: Any, out: Any) -> ActivationCall:
    """The gradient of an activation."""
    x = _floats("x", x)
    return ActivationCall(x, epilogue_of(None, None, name), dy=_like("dy", dy, x), out=_checked_out(out, x))


def _call(
    sets: Sets,
    x: Any,
    *,
    weight: Any,
    bias: Any,
    eps: Any,
    activation: Any,
    out: Any,
    mean: Any = None,
    variance: Any = None,
    add: Any = None,
    dy: Any = None,
    own: Any = None,
    needs: Any = (True, True, True),
) -> NormalizationCall:
    """``own``: whether the statistics are those of x; they are where none are given."""
    if (mean is None) != (variance is None):
        given = "mean" if variance is None else "variance"
        raise unfit(given, f"{given} alone", "mean and variance, or neither")
    call = NormalizationCall(
        sets,
        x,
        _of_floats("weight", weight, x, sets.affine_shape),
        _of_floats("bias", bias, x, sets.affine_shape),
        _of_floats("mean", mean, x, sets.statistics_shape),
        _of_floats("variance", variance, x, sets.statistics_shape),
        _eps(eps),
        epilogue_of(None, None, activation),
        None if add is None else _like("add", add, x),
        None if dy is None else _like("dy", dy, x),
        _checked_out(out, x),
        mean is None if own is None else boolean("batch_statistics", own),
        _needs(needs),
    )
    return call


def _floats(argument: str, value: Any) -> Any:
    array = as_array(argument, value)
    check_dtypes(FLOAT_DTYPES, **{argument: array})
    return array


def _like(argument: str, value: Any, x: Any) -> Any:
    array = as_array(argument, value)
    check_same_place(x=x, **{argument: array})
    check_dtypes(FLOAT_DTYPES, x=x, **{argument: array})
    check_shape(argument, array, x.shape)
    return array


def _of_floats(argument: str, value: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """A weight or a statistic, of any dtype that numbers are computed in; or None."""
    if value is None:
        return None
    array = _floats(argument, value)
    check_same_place(x=x, **{argument: array})
    check_shape(argument, array, shape)
    return array


def _checked_out(out: Any, x: Any) -> Any:
    return None if out is None else check_out(out, x.shape, x.dtype, x)


def _eps(value: Any) -> float:
    allowed = "a number of 0 or more that is added to variances"
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.floating)):
        raise bad_type("eps", value, allowed)
    eps = float(value)
    if not 0 <= eps < math.inf:
        raise bad_value("eps", value, allowed)
    return eps


def _needs(needs: Any) -> tuple[bool, bool, bool]:
    if not is_sequence(needs) or len(needs) != 3:
        raise bad_value("needs", needs, "three bools, for dx, dweight and dbias")
    first, second, third = (boolean("needs", each) for each in needs)
    return first, second, third
