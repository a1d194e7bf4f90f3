"""Scalars, one value per axis, words: the small arguments that all functions share."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import as_array
from .._errors import bad_type, bad_value
from .._problem import ACTIVATIONS, Epilogue

LAYOUT_LETTERS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
WEIGHT_LETTERS = {
    1: {"OIW": "OIDHW", "WIO": "DHWIO", "OWI": "ODHWI"},
    2: {"OIHW": "OIDHW", "HWIO": "DHWIO", "OHWI": "ODHWI"},
    3: {"OIDHW": "OIDHW", "DHWIO": "DHWIO", "ODHWI": "ODHWI"},
}


def integer(argument: str, value: Any, shown: Any = None, allowed: str = "an int") -> int:
    """``value`` as an int; anything that is not one exactly is a TypeError."""
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise bad_type(argument, value if shown is None else shown, allowed)


def is_scalar(value: Any) -> bool:
    """Whether ``value`` stands for all axes, and is not one value per axis."""
    return not hasattr(value, "__len__") or getattr(value, "ndim", None) == 0


def per_axis(argument: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """One int per spatial axis from an int, a sequence of one, or a sequence of ``rank``."""
    allowed = f"an int or {rank} ints, each {least} or more" if rank > 1 else f"an int, {least} or more"
    items = [value] if is_scalar(value) else sequence(argument, value, allowed)
    if len(items) not in (1, rank):
        raise bad_value(argument, value, allowed)
    given = tuple(integer(argument, item, value, allowed) for item in items)
    if min(given) < least or max(given) >= 2**62:
        raise bad_value(argument, value, allowed)
    return given * rank if len(given) == 1 else given


def sequence(argument: str, value: Any, allowed: str) -> list[Any]:
    """The items of a list, tuple or 1-D array."""
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)) or is_scalar(value):
        raise bad_type(argument, value, allowed)
    return list(value)


def shape_of(argument: str, shape: Any) -> tuple[int, ...]:
    """``shape`` as a tuple of ints, each 0 or more."""
    allowed = "a shape: ints, each 0 or more"
    sizes = tuple(integer(argument, size, shape, allowed) for size in sequence(argument, shape, allowed))
    if sizes and min(sizes) < 0:
        raise bad_value(argument, shape, allowed)
    return sizes


def shape_and_array(argument: str, value: Any) -> tuple[tuple[int, ...], np.ndarray | None]:
    """The shape of ``value`` and value itself as an array; None where it is a shape."""
    if isinstance(value, (tuple, list)) and all(hasattr(size, "__index__") for size in value):
        return shape_of(argument, value), None
    array = as_array(argument, value)
    return array.shape, array


def groups_count(value: Any) -> int:
    """``groups`` as a positive int."""
    groups = integer("groups", value, allowed="a positive int")
    if groups < 1:
        raise bad_value("groups", value, "a positive int")
    return groups


def is_channels_last(layout: Any, rank: int) -> bool:
    """Whether ``layout`` names channels-last arrays; None is channels first."""
    first, last = LAYOUT_LETTERS[rank]
    if layout is None or (isinstance(layout, str) and layout in (first, "channels_first")):
        return False
    if isinstance(layout, str) and layout in (last, "channels_last"):
        return True
    raise bad_value("layout", layout, f"{first} (default) or {last}")


def weight_layout_name(w_layout: Any, rank: int) -> str:
    """The canonical name of a weight layout; None is output channels, input channels, kernel."""
    letters = WEIGHT_LETTERS[rank]
    if w_layout is None:
        return "OIDHW"
    if not isinstance(w_layout, str) or w_layout not in letters:
        raise bad_value("w_layout", w_layout, ", ".join(letters))
    return letters[w_layout]


def epilogue_of(bias: Any, add: Any, activation: Any) -> Epilogue:
    """The Epilogue that the arguments ask for; an activation may be a name or ``("leaky_relu", slope)``."""
    slope = 0.01
    if isinstance(activation, tuple) and len(activation) == 2 and activation[0] == "leaky_relu":
        activation, slope = activation
        if isinstance(slope, bool) or not isinstance(slope, numbers.Real):
            raise bad_type("activation", slope, "a number as the slope of leaky_relu")
        slope = float(slope)
    if activation is not None and (not isinstance(activation, str) or activation not in ACTIVATIONS):
        raise bad_value("activation", activation, "None, " + ", ".join(ACTIVATIONS) + ', ("leaky_relu", slope)')
    return Epilogue(bias is not None, add is not None, activation, slope)
