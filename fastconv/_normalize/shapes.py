"""Shapes of results, from shapes of arrays and settings alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._backend import exact
from .._errors import bad_value
from .arguments import shape_of
from .options import lowering
from .pooling import AdaptiveSettings, PoolSettings, result_shape
from .signature import FAMILIES, RANKS

POOLINGS = ("max_pool", "avg_pool")
ADAPTIVE = ("adaptive_max_pool", "adaptive_avg_pool")
FUNCTIONS = tuple(f"{family}{rank}" for family in (*FAMILIES, *POOLINGS, *ADAPTIVE) for rank in RANKS)
KEPT = 4096
FLOAT = np.dtype(np.float32)
_known: dict[object, tuple[int, ...]] = {}


class Given(NamedTuple):
    """The arguments of ``output_shape`` that not every function has; None where they are not given."""

    w_shape: Any = None
    kernel_size: Any = None
    stride: Any = None
    padding: Any = None
    dilation: Any = None
    groups: Any = None
    output_padding: Any = None
    output_size: Any = None
    ceil_mode: Any = None
    padding_mode: Any = None
    w_layout: Any = None
    input_dilation: Any = None
    batch_group_count: Any = None
    allow_empty: Any = None


_SLIDING = {"stride", "padding", "dilation"}
_EVERY_CONVOLUTION = _SLIDING | {"w_shape", "w_layout", "allow_empty"}
ARGUMENTS = {
    "conv": _EVERY_CONVOLUTION | {"groups", "padding_mode", "input_dilation", "batch_group_count"},
    "conv_transpose": _EVERY_CONVOLUTION | {"groups", "output_padding", "output_size"},
    "depthwise_conv": _EVERY_CONVOLUTION | {"padding_mode", "input_dilation"},
    **{family: _SLIDING | {"kernel_size", "ceil_mode"} for family in POOLINGS},
    **{family: {"output_size"} for family in ADAPTIVE},
}
OPTIONS = ("input_dilation", "batch_group_count", "allow_empty")


def output_shape(function: Any, x_shape: Any, layout: Any, given: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of the function's result; ``given``: the fields of Given in their order."""
    key = exact((function, x_shape, layout, given))
    found = None if key is None else _known.get(key)
    if found is None:
        found = _shape(function, x_shape, layout, Given(*given))
        if key is not None:
            if len(_known) >= KEPT:
                _known.clear()
            _known[key] = found
    return found


def _shape(function: Any, x_shape: Any, layout: Any, given: Given) -> tuple[int, ...]:
    if not isinstance(function, str) or function not in FUNCTIONS:
        raise bad_value("function", function, ", ".join(FUNCTIONS))
    family, rank = function[:-2], RANKS[function[-2:]]
    values = {name: value for name, value in given._asdict().items() if value is not None}
    for name, value in values.items():
        if name not in ARGUMENTS[family]:
            raise bad_value(name, value, f"None; {function} has no such argument")
    shape = shape_of("x_shape", x_shape)
    if family in ADAPTIVE:
        return result_shape(rank, shape, AdaptiveSettings(given.output_size, layout), "x_shape")
    if family in POOLINGS:
        pooling = PoolSettings(values.pop("kernel_size", None), **values, layout=layout)
        return result_shape(rank, shape, pooling, "x_shape")
    w_shape = shape_of("w_shape", values.pop("w_shape", None))
    options = {name: values.pop(name) for name in OPTIONS if name in values}
    settings = FAMILIES[family]._replace(**values, layout=layout)
    low = lowering(rank, settings, options, shape, w_shape, {"x": FLOAT}, ("x_shape", "w_shape"))
    return low.described.y_shape
