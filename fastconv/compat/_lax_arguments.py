"""What ``jax.lax``'s convolutions are called with, checked in the order in which JAX checks it."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._general import Window, dilated, is_float, is_integer


class ConvDimensionNumbers(NamedTuple):
    """Which axis is what: ``(batch, channels, *spatial)`` of lhs and the result, ``(out, in, *spatial)`` of rhs."""

    lhs_spec: Sequence[int]
    rhs_spec: Sequence[int]
    out_spec: Sequence[int]


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """``dimension_numbers`` of any form as ConvDimensionNumbers; spatial axes in the order of those of rhs."""
    given = dimension_numbers
    axes = len(lhs_shape)
    if axes != len(rhs_shape) or axes < 2:
        raise TypeError(
            f"lhs, rhs: got shapes {tuple(lhs_shape)} and {tuple(rhs_shape)}; allowed: as many axes, 2 or more"
        )
    if all(hasattr(given, name) for name in ConvDimensionNumbers._fields):
        specs = ConvDimensionNumbers(*(tuple(map(operator.index, spec)) for spec in given))
        if any(sorted(spec) != list(range(axes)) for spec in specs):
            raise ValueError(
                f"dimension_numbers: got {given!r}; allowed: the axes 0 to {axes - 1} in any order, thrice"
            )
        return specs
    if given is None:
        return ConvDimensionNumbers(*[tuple(range(axes))] * 3)
    if not isinstance(given, (list, tuple)) or len(given) != 3 or not all(isinstance(spec, str) for spec in given):
        raise TypeError(f"dimension_numbers: got {given!r}; allowed: three strings, ConvDimensionNumbers, or None")
    roles = ("NC", "OI", "NC")
    for spec, role in zip(given, roles, strict=True):
        if len(spec) != axes or len(set(spec)) != axes or not set(role) <= set(spec):
            raise TypeError(
                f"dimension_numbers: got {spec!r} for arrays of {axes} axes; allowed: {role[0]}, {role[1]} and "
                f"{axes - 2} others, each once"
            )
    spatial = [letter for letter in given[1] if letter not in "OI"]
    if any(set(spec) - set(role) != set(spatial) for spec, role in zip(given, roles, strict=True)):
        raise TypeError(f"dimension_numbers: got {given!r}; allowed: the same letters for spatial axes in all three")
    return ConvDimensionNumbers(
        *(tuple(spec.index(letter) for letter in (*role, *spatial)) for spec, role in zip(given, roles, strict=True))
    )


def arguments(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    strides: Any,
    padding: Any,
    spread: Any,
    dilation: Any,
    features: Any,
    batches: Any,
    precision: Any,
) -> tuple[Window, int, int]:
    """Window and numbers of groups, of shapes in the order (N, C, ...) and (O, I, ...)."""
    rank = len(x_shape) - 2
    strides = _ints("window_strides", strides, rank)
    if min(strides, default=1) < 1:
        raise ValueError(f"window_strides: got {strides}; allowed: {rank} ints of 1 or more")
    dilation = _ints("rhs_dilation", (1,) * rank if dilation is None else dilation, rank)
    spread = _ints("lhs_dilation", (1,) * rank if spread is None else spread, rank)
    if isinstance(padding, str):
        if any(each != 1 for each in spread):
            raise ValueError(f"padding: got {padding!r} with lhs_dilation={spread}; allowed: (low, high) pairs")
        reach = [dilated(k, d) for k, d in zip(w_shape[2:], dilation, strict=True)]
        pads = [_pads_of(padding, *each) for each in zip(x_shape[2:], reach, strides, strict=True)]
    else:
        pads = _pairs(padding)
    _check_precision(precision)
    groups = _groups(x_shape, w_shape, features, batches)
    for name, values in (("lhs_dilation", spread), ("rhs_dilation", dilation)):
        if min(values, default=1) < 1:
            raise TypeError(f"{name}: got {values}; allowed: {rank} ints of 1 or more")
    if len(pads) != rank:
        raise TypeError(f"padding: got {padding!r}; allowed: one (low, high) pair for each of {rank} spatial axes")
    for size, d, pad in zip(x_shape[2:], spread, pads, strict=True):
        if dilated(size, d) + sum(pad) < 0:
            raise ValueError(f"padding: got {pad} for an axis of {dilated(size, d)}; allowed: no more than that is cut")
    if 0 in w_shape[2:]:
        raise ValueError(f"rhs: got shape {w_shape}, as (O, I, *spatial); allowed: spatial sizes of 1 or more")
    return Window(strides, tuple(pads), spread, dilation), *groups


def _ints(name: str, values: Any, rank: int) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(value) for value in values)
    except TypeError:
        raise TypeError(f"{name}: got {values!r}; allowed: {rank} ints of 1 or more") from None
    if len(numbers) != rank:
        raise ValueError(f"{name}: got {values!r}; allowed: {rank} ints, one per spatial axis")
    return numbers


def _pairs(padding: Any) -> list[tuple[int, int]]:
    try:
        return [(operator.index(low), operator.index(high)) for low, high in padding]
    except (TypeError, ValueError):
        raise ValueError(
            f'padding: got {padding!r}; allowed: "VALID", "SAME", "SAME_LOWER", or (low, high) pairs'
        ) from None


def _pads_of(word: str, size: int, reach: int, stride: int) -> tuple[int, int]:
    if word.upper() == "VALID":
        return 0, 0
    if word.upper() not in ("SAME", "SAME_LOWER"):
        # RuntimeError is JAX's.
        raise UnknownPaddingError(f'padding: got {word!r}; allowed: "VALID", "SAME", "SAME_LOWER", or pairs')
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if word.upper() == "SAME" else (more, less)


class UnknownPaddingError(ValueError, RuntimeError):
    """The word is none; a RuntimeError in JAX, a ValueError elsewhere."""


def transposed_pads(reach: int, stride: int, pad: Any) -> tuple[int, int]:
    """Of the spread image, for a convolution that would have this padding."""
    if isinstance(pad, str):
        if pad == "SAME":
            total = reach + stride - 2
            low = reach - 1 if stride > reach - 1 else -(-total // 2)
        elif pad == "VALID":
            total, low = reach + stride - 2 + max(reach - stride, 0), reach - 1
        else:
            raise UnknownPaddingError(f'padding: got {pad!r}; allowed: "SAME", "VALID", or (low, high) pairs')
        return low, total - low
    low, high = pad
    return reach - 1 - low, reach - 1 - high


def _groups(x_shape: tuple[int, ...], w_shape: tuple[int, ...], features: Any, batches: Any) -> tuple[int, int]:
    for name, value in (("feature_group_count", features), ("batch_group_count", batches)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name}: got {value!r}; allowed: ints of 1 or more")
        if w_shape[0] % value:
            raise ValueError(f"{name}: got {value}; allowed: divisors of the {w_shape[0]} filters of rhs")
    if features > 1 and batches > 1:
        raise ValueError(f"batch_group_count: got {batches} with feature_group_count={features}; allowed: one above 1")
    if x_shape[1] % features:
        raise ValueError(f"feature_group_count: got {features}; allowed: divisors of the {x_shape[1]} channels of lhs")
    if x_shape[1] // features != w_shape[1]:
        raise ValueError(
            f"rhs: got {w_shape[1]} channels for {x_shape[1]} of lhs in {features} groups; needed: "
            f"{x_shape[1] // int(features)}"
        )
    if x_shape[0] % batches:
        raise ValueError(f"batch_group_count: got {batches}; allowed: divisors of the batch of {x_shape[0]}")
    return int(features), int(batches)


def result_dtype(lhs: np.dtype, rhs: np.dtype, preferred: Any) -> np.dtype:
    if lhs != rhs:
        raise TypeError(f"rhs: got {rhs} for an lhs of {lhs}; allowed: the same dtype")
    if _kind(lhs) is None:
        raise TypeError(f"lhs: got {lhs}; allowed: integers, floats, complex numbers")
    if preferred is None:
        return lhs
    dtype = np.dtype(preferred)
    allowed = {
        "bool": ("bool", "unsigned", "signed", "float", "complex"),
        "unsigned": ("unsigned", "signed", "float"),
        "signed": ("signed", "float"),
        "float": ("float",),
        "complex": ("complex",),
    }[_kind(lhs)]
    if _kind(dtype) not in allowed or dtype.itemsize < lhs.itemsize:
        raise TypeError(
            f"preferred_element_type: got {dtype} for arrays of {lhs}; allowed: {', '.join(allowed)}, no narrower"
        )
    return dtype


def _kind(dtype: np.dtype) -> Any:
    if is_integer(dtype):
        return {"b": "bool", "u": "unsigned", "i": "signed"}.get(
            dtype.kind, "unsigned" if dtype.name.startswith("u") else "signed"
        )
    return "float" if is_float(dtype) else {"c": "complex"}.get(dtype.kind)


PRECISIONS = {"default", "fastest", "bfloat16", "high", "bfloat16_3x", "tensorfloat32", "highest", "float32"}
ALGORITHM = re.compile(r"(ANY_F8|B?F16|TF32|F32|F64)(_(ANY_F8|B?F16|TF32|F32|F64|ANY)){2}(_X[369]|_FAST_ACCUM)?")


def _check_precision(precision: Any) -> None:
    """Every word of JAX promises no more than fastconv's "highest" gives."""
    pair = precision if isinstance(precision, (tuple, list)) and len(precision) == 2 else (precision,)
    for one in pair:
        word = str(getattr(one, "name", one))
        known = word.lower() in PRECISIONS or ALGORITHM.fullmatch(word)
        if one is not None and not known and type(one).__name__ != "DotAlgorithm":
            raise ValueError(f"precision: got {precision!r}; allowed: None, a precision of JAX or its name, or a pair")
