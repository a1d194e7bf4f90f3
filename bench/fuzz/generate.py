"""Seed -> Case: one generator over all public functions and all of their arguments."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

from . import ranges
from .case import Case, Padding
from .fitting import LIMITS, Limits, fitted, with_room
from .layouts import WEIGHT_LAYOUTS
from .memory import OUT_PLACES, PLACES

PLANNED = tuple(
    f"plan.{base}.{direction}"
    for base in ("conv*d", "depthwise_conv*d", "conv_transpose*d")
    for direction in ("forward", "backward_input", "backward_weight")
)
CONVOLUTIONS = ("conv*d", "conv_transpose*d", "depthwise_conv*d")
GRADIENTS = tuple(
    f"grad.{name}"
    for name in ("conv*d_input", "conv*d_weight", "conv*d_bias", "conv_transpose*d_input", "conv_transpose*d_weight")
)
POOLS = ("max_pool*d", "avg_pool*d", "adaptive_max_pool*d", "adaptive_avg_pool*d", "global_max_pool", "global_avg_pool")
BLOCKS = ("unfold", "fold", "unfold_backward", "fold_backward")

TURNS: dict[str, int] = {
    **dict.fromkeys(CONVOLUTIONS, 12),
    **{f"{name}_backward": 6 for name in CONVOLUTIONS},
    **dict.fromkeys(GRADIENTS, 3),
    **dict.fromkeys(PLANNED, 2),
    "conv*d_integer": 3,
    **{f"separable_conv*d{suffix}": 3 for suffix in ("", "_backward")},
    **{f"causal_conv1d{suffix}": 2 for suffix in ("", "_backward")},
    **{f"{name}{suffix}": 3 if "*" in name else 1 for name in POOLS for suffix in ("", "_backward")},
    **dict.fromkeys(BLOCKS, 1),
}
"""Every function, and how often it has its turn in a round; three turns are one with each number of axes."""

FLOATS = ("float32", "float64", "float16", "bfloat16")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
RANKS = (1, 2, 3)
ACTIVATIONS = ("relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")


def generate(seed: int, number: int, functions: Sequence[str] = (), limits: Limits = LIMITS) -> Case:
    """The ``number``-th case of a seed; of the given functions only, if there are any."""
    turns = _turns(seed, tuple(functions))
    function, ranks, turn = turns[number % len(turns)]
    rank = ranks[(turn + number // len(turns)) % len(ranks)]
    rng = random.Random(f"{seed}:{number}")
    if "pool" in function or "fold" in function:
        return _pool(rng, function, rank, limits)
    return _convolution(rng, function, rank, limits)


@functools.cache
def _turns(seed: int, functions: tuple[str, ...]) -> list[tuple[str, Sequence[int], int]]:
    """In the order of their turns in a round: the functions, their numbers of axes, and how many turns were before."""
    turns = [
        (name, ranks, turn)
        for name, count in TURNS.items()
        if (ranks := _ranks(name, functions))
        for turn in range(count)
    ]
    if not turns:
        raise ValueError(f"functions: got {', '.join(functions)}; allowed: {', '.join(TURNS)}")
    random.Random(seed).shuffle(turns)
    return turns


def _ranks(name: str, functions: Sequence[str]) -> Sequence[int]:
    """The numbers of axes with which a function is asked for; ``conv*d`` asks for all of ``conv1d`` and so on."""
    if not functions or name in functions:
        return RANKS
    return [rank for rank in RANKS if name.replace("*", str(rank)) in functions]


def _geometry(rng: random.Random, rank: int) -> dict[str, Any]:
    """Sizes, kernel, stride, dilation and padding, every axis for itself."""
    kernel = tuple(ranges.kernel(rng) for _ in range(rank))
    dilation = tuple(ranges.dilation(rng) for _ in range(rank))
    return {
        "size": tuple(ranges.size(rng) for _ in range(rank)),
        "kernel": kernel,
        "stride": tuple(ranges.stride(rng) for _ in range(rank)),
        "dilation": dilation,
        "padding": tuple(ranges.pair(rng, step * (k - 1)) for k, step in zip(kernel, dilation, strict=True)),
    }


def _convolution(rng: random.Random, function: str, rank: int, limits: Limits) -> Case:
    rank = 1 if "causal" in function else rank
    is_depthwise = any(word in function for word in ("depthwise", "separable", "causal"))
    geometry = _geometry(rng, rank)
    if "causal" in function:
        geometry |= {"stride": (1,), "padding": ((0, 0),)}
    elif rng.random() < 0.12:
        words = ["valid", "same", "same_lower", "full"] + ["causal"] * (rank == 1)
        geometry["padding"] = rng.choice(words)
    case = Case(
        function,
        **geometry,
        batch=ranges.batch(rng),
        channels=1 if is_depthwise else ranges.channels(rng),
        filters=ranges.multiplier(rng) if is_depthwise else ranges.channels(rng),
        groups=ranges.depthwise(rng) if is_depthwise else ranges.groups(rng),
        points=ranges.channels(rng) if "separable" in function else 1,
        channels_last=rng.random() < 0.4,
        seed=rng.randrange(2**31),
    )
    if not is_depthwise and rng.random() < 0.2:
        case = _deep(rng, case)
    if "causal" in function:
        case = case.replace(filters=1, flat_weight=rng.random() < 0.5, state=rng.random() < 0.6)
    elif rng.random() < 0.35:
        case = case.replace(weight_layout=rng.choice(WEIGHT_LAYOUTS))
    case = fitted(rng, case, ranges.multiply_adds(rng), limits)
    case = _oddities(rng, case)
    return _with_arrays(rng, _with_settings(rng, case))


def _deep(rng: random.Random, case: Case) -> Case:
    """The case with few pixels and many products in each of their sums."""
    ways = {rng.choice(("channels", "filters")): ranges.many(rng)}
    return case.replace(batch=1, groups=1, size=tuple(rng.randint(1, 14) for _ in case.size), **ways)


def _with_settings(rng: random.Random, case: Case) -> Case:
    """Dtype, epilogue, padding mode and what else does not change the shapes."""
    changes: dict[str, Any] = {}
    if "integer" in case.function:
        limits = {"int8": (-128, 127), "uint8": (0, 255)}
        dtypes = rng.choice(("int8", "uint8")), rng.choice(("int8", "uint8"))
        points = tuple(rng.choice((0, rng.randint(*limits[dtype]))) for dtype in dtypes)
        changes = {"dtype": dtypes[0], "weight_dtype": dtypes[1], "zero_points": points}
        return case.replace(**changes, zero_point_per_filter=rng.random() < 0.3)
    dtype = rng.choices((*FLOATS, *COMPLEX), (55, 17, 7, 7, 8, 6))[0]
    changes["dtype"] = dtype
    changes["data"] = rng.choices(("integers", "normal", "special"), (55, 30, 15))[0]
    if dtype == "float32" and rng.random() < 0.3:
        changes["precision"] = rng.choice(("ieee", "highest", "high", "medium"))
    has_mode = not case.is_transposed and "causal" not in case.function and "grad.conv*d_bias" != case.function
    if has_mode and rng.random() < 0.12:
        changes["padding_mode"] = rng.choice(("reflect", "replicate", "circular", "symmetric"))
    is_gradient = case.function.endswith("_backward") and "plan" not in case.function
    if "grad." in case.function or (case.function.startswith("plan") and not case.function.endswith("forward")):
        return case.replace(**changes)
    changes |= {"bias": rng.random() < 0.4, "add": rng.random() < 0.25}
    if not dtype.startswith("complex") and rng.random() < 0.35:
        activation = rng.choice(ACTIVATIONS)
        changes["activation"] = activation
        if activation == "leaky_relu":
            changes["slope"] = rng.choice((0.5, 0.5, 0.01, -1.5, None))
        if is_gradient:
            # Without a half in every sum, rounding decides on which side of a kink it is; slopes are rounded to 0.
            changes["bias"] = True
            if activation in ("relu", "relu6", "leaky_relu") or changes["data"] == "special":
                changes["data"] = "integers"
    if is_gradient and rng.random() < 0.25:
        count = 4 if "separable" in case.function or "causal" in case.function else 3
        changes["needs"] = tuple(rng.random() < 0.6 for _ in range(count))
    return case.replace(**changes)


def _with_arrays(rng: random.Random, case: Case) -> Case:
    """Where the arrays lie, and which algorithms are asked for."""
    names = ("x", "w", "dy", "bias", "add", "state", "dstate", "w_depthwise", "w_pointwise", "indices")
    memory: list[tuple[str, str]] = []
    if rng.random() < 0.55:
        memory = [(name, rng.choice(PLACES)) for name in names if rng.random() < 0.5]
    if case.data == "special":
        # A repeated value would be a repeated NaN; that is no other case.
        memory = [(name, where) for name, where in memory if where != "broadcast"]
    return case.replace(memory=tuple(memory), out=rng.choice(OUT_PLACES) if rng.random() < 0.4 else None)


def _oddities(rng: random.Random, case: Case) -> Case:
    """Now and then no batch axis, an empty axis, or sizes that have to be refused."""
    if rng.random() < 0.12:
        case = case.replace(batch=1, batched=False)
    if case.is_transposed and rng.random() < 0.3:
        most = [max(step, spread) - 1 for step, spread in zip(case.stride, case.dilation, strict=True)]
        case = case.replace(output_padding=tuple(rng.randint(0, limit) for limit in most))
    match rng.choices(range(5), (94, 2, 1, 1, 2))[0]:
        case 1 if case.batched:
            return case.replace(batch=0)
        case 2 if case.function in ("conv*d", "conv*d_backward"):
            return case.replace(channels=0)
        case 3 if "causal" not in case.function:
            axis = rng.randrange(case.rank)
            return case.replace(size=(*case.size[:axis], 0, *case.size[axis + 1 :]))
        case 4:
            return case.replace(size=tuple(rng.randint(1, 5) for _ in case.size))
    return case


def _pool_padding(rng: random.Random, case: Case) -> Padding:
    """Padding that a window reaches over."""
    if rng.random() < 0.1:
        return rng.choice(("valid", "same", "same_lower"))
    pairs = []
    for k, step in zip(case.kernel, case.dilation, strict=True):
        reach = step * (k - 1) + 1
        half = k // 2
        pairs.append(
            (half, half) if rng.random() < 0.4 and half < reach else (rng.randrange(reach), rng.randrange(reach))
        )
    return tuple(pairs)


def _pool(rng: random.Random, function: str, rank: int, limits: Limits) -> Case:
    is_global, is_maximum = "global" in function, "max_pool" in function
    is_gradient = function.endswith("_backward")
    rank = 4 if is_global and rng.random() < 0.2 else rank
    geometry = _geometry(rng, rank)
    is_sliding = function.startswith(("max", "avg"))
    if "pool" in function and not is_sliding:
        ones, none = (1,) * rank, ((0, 0),) * rank
        geometry |= {"kernel": ones, "stride": ones, "dilation": ones, "padding": none}
    case = Case(function, **geometry, batch=ranges.batch(rng), channels=ranges.channels(rng), seed=rng.randrange(2**31))
    if "adaptive" in function:
        wanted = tuple(None if rng.random() < 0.1 else ranges.outputs(rng) for _ in range(rank))
        case = case.replace(output_size=wanted)
    case = fitted(rng, case, min(ranges.multiply_adds(rng), 400_000), limits)
    if is_sliding:
        case = with_room(case.replace(padding=_pool_padding(rng, case)))
    dtypes: tuple[str, ...] = (*FLOATS, *FLOATS)
    if "fold" in function:
        dtypes += (*COMPLEX, *INTEGERS, *(("bool",) if function == "unfold" else ()))
    elif is_maximum and not is_gradient:
        dtypes += INTEGERS
    elif not is_maximum:
        dtypes += COMPLEX if is_gradient or not is_sliding else (*COMPLEX, "int64")
    case = case.replace(
        dtype=rng.choice(dtypes),
        data=rng.choices(("integers", "normal", "special"), (50, 25, 25))[0],
        batched=is_global or rng.random() < 0.85,
        channels_last="fold" not in function and rng.random() < 0.4,
        ceil_mode=is_sliding and rng.random() < 0.4,
        default_stride=is_sliding and rng.random() < 0.25,
        count_include_pad=is_maximum or not is_sliding or rng.random() < 0.6,
        divisor_override=rng.choice((-2, 1, 3, 7)) if is_sliding and not is_maximum and rng.random() < 0.2 else None,
        return_indices=rng.random() < 0.5,
        indices=is_gradient and is_maximum and not is_global and rng.random() < 0.4,
        keepdims=rng.random() < 0.6,
        shape_only=rng.random() < 0.3,
    )
    if not case.batched:
        case = case.replace(batch=1)
    elif rng.random() < 0.03:
        case = case.replace(batch=0)
    return _with_arrays(rng, case)
