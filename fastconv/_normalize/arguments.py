"""Scalars, one value per axis, words: the small arguments that all functions share."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import as_array, is_cupys
from .._errors import bad_type, bad_value, unfit
from .._problem import ACTIVATIONS, Epilogue

LAYOUT_LETTERS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
WEIGHT_LETTERS = {
    1: {"OIW": "OIDHW", "WIO": "DHWIO", "OWI": "ODHWI", "IOW": "IODHW"},
    2: {"OIHW": "OIDHW", "HWIO": "DHWIO", "OHWI": "ODHWI", "IOHW": "IODHW"},
    3: {"OIDHW": "OIDHW", "DHWIO": "DHWIO", "ODHWI": "ODHWI", "IODHW": "IODHW"},
}


NO_EPILOGUE = Epilogue()
MAX_BYTES = 2**47
"""What a process can address."""


def integer(argument: str, value: Any, shown: Any = None, allowed: str = "an int") -> int:
    """``value`` as an int; a TypeError for anything that is not exactly an int."""
    try:
        number = None if isinstance(value, bool) or is_cupys(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise bad_type(argument, value if shown is None else shown, allowed)
    return number


def per_axis(argument: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """One int per spatial axis from an int, a sequence of one, or a sequence of ``rank``."""
    allowed = f"an int or {rank} ints, each {least} or more" if rank > 1 else f"an int, {least} or more"
    items = list(value) if is_sequence(value) else [value]
    if len(items) not in (1, rank):
        raise bad_value(argument, value, allowed)
    given = tuple(integer(argument, item, value, allowed) for item in items)
    if min(given) < least or max(given) >= 2**62:
        raise bad_value(argument, value, allowed)
    return given * rank if len(given) == 1 else given


def is_sequence(value: Any) -> bool:
    """Whether ``value`` is several values: a list, tuple, range or array; text and bytes are not."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))


def sequence(argument: str, value: Any, allowed: str) -> list[Any]:
    """The items of a list, tuple or 1-D array."""
    if not is_sequence(value):
        raise bad_type(argument, value, allowed)
    return list(value)


def shape_of(argument: str, shape: Any) -> tuple[int, ...]:
    """``shape`` as a tuple of ints, each 0 or more."""
    allowed = "a shape: ints, each 0 or more"
    sizes = tuple(integer(argument, size, shape, allowed) for size in sequence(argument, shape, allowed))
    if sizes and min(sizes) < 0:
        raise bad_value(argument, shape, allowed)
    return sizes


def check_addressable(argument: str, shape: Sequence[int]) -> None:
    """A ValueError where an array of ``shape``, which ``argument`` leads to, is larger than any memory."""
    elements = math.prod(shape) or math.prod(max(size, 1) for size in shape)
    if elements * 16 > MAX_BYTES:
        raise unfit(argument, f"a call with an array of shape {tuple(shape)}", f"arrays below {MAX_BYTES} bytes")


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
    if layout is None or (isinstance(layout, str) and layout.upper() in (first, "CHANNELS_FIRST")):
        return False
    if isinstance(layout, str) and layout.upper() in (last, "CHANNELS_LAST"):
        return True
    raise bad_value("layout", layout, f"{first} (default) or {last}")


def weight_layout_name(w_layout: Any, rank: int) -> str:
    """The canonical name of a weight layout; None is output channels, input channels, kernel."""
    letters = WEIGHT_LETTERS[rank]
    if w_layout is None:
        return "OIDHW"
    if not isinstance(w_layout, str) or w_layout.upper() not in letters:
        raise bad_value("w_layout", w_layout, ", ".join(letters))
    return letters[w_layout.upper()]


def _slope(value: Any) -> float:
    allowed = "a finite number as the slope of leaky_relu"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise bad_type("activation", value, allowed)
    try:
        slope = float(value)
    except OverflowError:
        slope = math.inf
    if not math.isfinite(slope):
        raise bad_value("activation", value, allowed)
    # -0.0 would be equal to 0.0 wherever problems are looked up.
    return slope + 0.0


def epilogue_of(bias: Any, add: Any, activation: Any) -> Epilogue:
    """The Epilogue that the arguments ask for; an activation may be a name or ``("leaky_relu", slope)``."""
    slope = 0.01
    if isinstance(activation, tuple) and len(activation) == 2 and isinstance(activation[0], str):
        name, slope = activation
        if name != "leaky_relu":
            raise bad_value("activation", activation, '("leaky_relu", slope); no other activation has a parameter')
        activation, slope = name, _slope(slope)
    if activation is not None and (not isinstance(activation, str) or activation not in ACTIVATIONS):
        raise bad_value("activation", activation, "None, " + ", ".join(ACTIVATIONS) + ', ("leaky_relu", slope)')
    if bias is None and add is None and activation is None:
        return NO_EPILOGUE
    return Epilogue(bias is not None, add is not None, activation, slope)
