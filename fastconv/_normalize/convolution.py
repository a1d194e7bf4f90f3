"""Convolutions and transposed convolutions: what users pass, to a ConvCall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array, dtype_name
from .._errors import bad_type, bad_value
from .._problem import DTYPES, Epilogue
from .arguments import epilogue_of
from .arrays import check_same_place
from .call import ConvCall, check_epilogue_shapes, forward_call
from .settings import Described, GivenSettings, describe

FLOAT_DTYPES = tuple(name for name in DTYPES if name != "int8")


@dataclass(frozen=True)
class Arguments:
    """The forward's arguments, checked against each other."""

    described: Described
    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    add: np.ndarray | None
    epilogue: Epilogue


def check_dtypes(allowed: Sequence[str], **arrays: np.ndarray | None) -> str:
    """The common dtype name of the arrays; a TypeError where they differ or are not allowed, or lie in two places."""
    check_same_place(**arrays)
    names = {argument: dtype_name(array.dtype) for argument, array in arrays.items() if array is not None}
    first, name = next(iter(names.items()))
    for argument, other in names.items():
        if other not in allowed:
            raise bad_type(argument, f"dtype {other}", ", ".join(allowed))
        if other != name:
            raise bad_type(argument, f"dtype {other}", f"{name}, the dtype of {first}; nothing is cast silently")
    return name


def check_activation(epilogue: Epilogue, dtype: str) -> None:
    """A ValueError for an activation of complex numbers."""
    if epilogue.activation and dtype.startswith("complex"):
        raise bad_value("activation", epilogue.activation, "None for complex arrays")


def check_arguments(
    rank: int,
    x: Any,
    w: Any,
    bias: Any,
    settings: GivenSettings,
    activation: Any = None,
    add: Any = None,
    w_name: str = "w",
    dy: np.ndarray | None = None,
) -> Arguments:
    """The forward's arguments as arrays and a described problem; a gradient's ``dy`` must have their dtype."""
    x, w = as_array("x", x), as_array(w_name, w)
    bias = None if bias is None else as_array("bias", bias)
    add = None if add is None else as_array("add", add)
    dtype = check_dtypes(FLOAT_DTYPES, **{"x": x, w_name: w, "bias": bias, "add": add, "dy": dy})
    described = describe(rank, x.shape, w.shape, dtype, settings, w_name=w_name)
    epilogue = epilogue_of(bias, add, activation)
    check_activation(epilogue, dtype)
    check_epilogue_shapes(described, bias, add)
    return Arguments(described, x, w, bias, add, epilogue)


def forward(
    rank: int,
    settings: GivenSettings,
    activation: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    add: Any = None,
    out: Any = None,
    w_name: str = "w",
) -> ConvCall:
    """A convolution, or where ``settings`` say so a transposed one."""
    a = check_arguments(rank, x, w, bias, settings, activation, add, w_name)
    problem = a.described.problem_of("forward", a.epilogue)
    return forward_call(a.described, problem, a.x, a.w, a.bias, a.add, out)
