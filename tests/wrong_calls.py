"""Right calls of every convolution function, and every wrong value of each of their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastconv

ANY = (ValueError, TypeError)


class GpuArray:
    """What an array of another device looks like from outside."""

    __cuda_array_interface__: Mapping[str, Any] = {"shape": (2, 3), "typestr": "<f4", "data": (0, False), "version": 3}


@dataclass(frozen=True)
class Target:
    """A function and a call of it that is right."""

    name: str
    function: Callable[..., Any]
    rank: int
    arguments: dict[str, Any]
    out_shape: tuple[int, ...] | None = None
    out_dtype: str = "float32"

    def takes(self, argument: str) -> bool:
        return argument in inspect.signature(self.function).parameters


def ones(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.ones(shape, dtype)


def conv_targets(rank: int) -> Iterator[Target]:
    """Convolutions of (2, 4, 6...) with (6, 2, 3...) in two groups, and their gradients."""
    size, kernel, result = (6,) * rank, (3,) * rank, (4,) * rank
    x, w, dy, bias = ones(2, 4, *size), ones(6, 2, *kernel), ones(2, 6, *result), ones(6)
    call = {"x": x, "w": w, "bias": bias, "groups": 2}
    name = f"conv{rank}d"
    yield Target(name, getattr(fastconv, name), rank, {**call, "add": dy}, dy.shape)
    yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": dy, **call, "add": dy})
    grads = fastconv.grad
    for_input = {"input_shape": x.shape, "w": w, "dy": dy, "groups": 2}
    for_weight = {"x": x, "weight_shape": w.shape, "dy": dy, "groups": 2}
    yield Target(f"grad.{name}_input", getattr(grads, f"{name}_input"), rank, for_input, x.shape)
    yield Target(f"grad.{name}_weight", getattr(grads, f"{name}_weight"), rank, for_weight, w.shape)
    yield Target(f"grad.{name}_bias", getattr(grads, f"{name}_bias"), rank, {"dy": dy})


def transposed_targets(rank: int) -> Iterator[Target]:
    """Transposed convolutions of (2, 4, 5...) with (4, 3, 3...) in two groups, and their gradients."""
    x, w, dy = ones(2, 4, *(5,) * rank), ones(4, 3, *(3,) * rank), ones(2, 6, *(7,) * rank)
    call = {"x": x, "w": w, "bias": ones(6), "groups": 2}
    name = f"conv_transpose{rank}d"
    yield Target(name, getattr(fastconv, name), rank, {**call, "add": dy}, dy.shape)
    yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": dy, **call, "add": dy})
    grads = fastconv.grad
    for_input = {"input_shape": x.shape, "w": w, "dy": dy, "groups": 2}
    for_weight = {"x": x, "weight_shape": w.shape, "dy": dy, "groups": 2}
    yield Target(f"grad.{name}_input", getattr(grads, f"{name}_input"), rank, for_input, x.shape)
    yield Target(f"grad.{name}_weight", getattr(grads, f"{name}_weight"), rank, for_weight, w.shape)


def depthwise_targets(rank: int) -> Iterator[Target]:
    """Depthwise and separable convolutions of (2, 4, 6...), two kernels per channel, and their gradients."""
    x, w, dy = ones(2, 4, *(6,) * rank), ones(8, 1, *(3,) * rank), ones(2, 8, *(4,) * rank)
    call = {"x": x, "w": w, "bias": ones(8), "add": dy}
    name = f"depthwise_conv{rank}d"
    yield Target(name, getattr(fastconv, name), rank, call, dy.shape)
    yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": dy, **call})
    dy = ones(2, 5, *(4,) * rank)
    weights = {"w_depthwise": w, "w_pointwise": ones(5, 8, *(1,) * rank)}
    call = {"x": x, **weights, "bias": ones(5), "add": dy}
    name = f"separable_conv{rank}d"
    yield Target(name, getattr(fastconv, name), rank, call, dy.shape)
    yield Target(f"{name}_backward", getattr(fastconv, f"{name}_backward"), rank, {"dy": dy, **call})


def other_targets() -> Iterator[Target]:
    x, w, state = ones(2, 4, 6), ones(4, 1, 3), ones(2, 4, 2)
    call = {"x": x, "w": w, "bias": ones(4), "state": state, "add": x}
    yield Target("causal_conv1d", fastconv.causal_conv1d, 1, call, x.shape)
    yield Target("causal_conv1d_backward", fastconv.causal_conv1d_backward, 1, {"dy": x, **call, "dstate": state})
    for rank in (1, 2, 3):
        x, w = ones(2, 4, *(6,) * rank, dtype="uint8"), ones(6, 2, *(3,) * rank, dtype="int8")
        call = {"x": x, "w": w, "x_zero_point": 1, "w_zero_point": np.zeros(6, np.int8), "groups": 2}
        name = f"conv{rank}d_integer"
        yield Target(name, getattr(fastconv, name), rank, call, (2, 6, *(4,) * rank), "int32")
    for name, shapes in (
        ("conv2d", ((2, 4, 6, 6), (6, 2, 3, 3))),
        ("conv_transpose1d", ((2, 4, 5), (4, 3, 3))),
        ("depthwise_conv3d", ((2, 4, 6, 6, 6), (8, 1, 3, 3, 3))),
    ):
        call = {"function": name, "x_shape": shapes[0], "w_shape": shapes[1]}
        groups = {} if name.startswith("depthwise") else {"groups": 2}
        yield Target(f"plan {name}", fastconv.plan, len(shapes[0]) - 2, {**call, **groups})


TARGETS = [
    target
    for rank in (1, 2, 3)
    for targets in (conv_targets, transposed_targets, depthwise_targets)
    for target in targets(rank)
] + list(other_targets())

NOT_INTS: list[Any] = ["2", 1.5, True, np.True_, np.float64(2), [], {}, {2}, ["1"], [1.5], [None], 2j]


def bad_settings(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for the arguments that say which convolution."""
    rank = target.rank
    for argument in ("stride", "dilation"):
        for value in (0, -1, [0] * rank, [1] * (rank + 1), [1] * (2 * rank + 1), 2**62, -(2**70), np.zeros(rank, int)):
            yield argument, value, ValueError
        for value in (None, *NOT_INTS):
            yield argument, value, ANY
    for value in (0, -1, 3, 5, 2**70):
        yield "groups", value, ValueError
    for value in ("2", 1.5, True, np.True_, [2], np.array([2, 2]), 2j):
        # A plan of a depthwise convolution refuses any.
        yield "groups", value, ANY if target.name.startswith("plan") else TypeError
    if target.function is not fastconv.plan:
        yield "groups", None, TypeError
        yield "output_padding", None, TypeError
    flat = [1] * (2 * rank)
    for value in (-1, [-1] * rank, [1] * (rank + 1), flat, tuple(flat), np.array(flat), "smae", "SAMEST", "", 2**62):
        yield "padding", value, ValueError
    for value in ([(1, 1)] * (rank + 1), [(1, 1, 1)] * rank, [(1,)] * rank, [()] * rank, [(0, 2**62)] * rank, []):
        yield "padding", value, ValueError
    for value in (1.5, None, True, {}, {1}, [1.5], ["same"] * rank, [(1, 1.5)] * rank, [(True, 1)] * rank, b"same"):
        yield "padding", value, ANY
    if rank > 1:
        yield "padding", "causal", ValueError
    for value in ("zero", "symmetrical", "", None, 0, ["zeros"] * (rank + 1)):
        yield "padding_mode", value, ValueError
    wrong = {1: "NCHW", 2: "NCW", 3: "NHWC"}[rank]
    for value in (wrong, "nhcw", "", 1, ["NCHW"], np.array(["NCW", "NWC"])):
        yield "layout", value, ValueError
    wrong = {1: "OIHW", 2: "OIW", 3: "HWIO"}[rank]
    for value in (wrong, "IHOW", "", 1, ["OIHW"]):
        yield "w_layout", value, ValueError


def bad_ways(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for the arguments that say how to compute."""
    for value in ("swish", "", 1, ("relu", 1), ("leaky_relu",), ["leaky_relu", 0.1]):
        yield "activation", value, ValueError
    yield "activation", ("leaky_relu", "0.1"), TypeError
    for value in ("low", "HIGH", "", 1, ["high"]):
        yield "precision", value, ValueError
    for value in ("quick", "", None, 1):
        yield "algorithm", value, ValueError
    for value in (0, -1):
        yield "threads", value, ValueError
    for value in (1.5, "2", True, np.True_, [1], np.array([1, 2])):
        yield "threads", value, TypeError
    results = 4 if target.name.startswith(("separable", "causal")) else 3
    for value in ((True,) * (results - 1), (True,) * (results + 1), ()):
        yield "needs", value, ValueError
    for value in (True, None, (1,) * results, "T" * results, (None,) * results, np.ones(results)):
        yield "needs", value, TypeError


def bad_arrays(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for every array: not one, of a wrong dtype, of a wrong shape."""
    for argument in ("x", "w", "w_depthwise", "w_pointwise", "bias", "add", "dy", "state", "dstate"):
        right = target.arguments.get(argument)
        if right is None:
            continue
        for value in ("array", b"array", {}, {1}, GpuArray(), [[1, 2], [3]], np.full(right.shape, None)):
            yield argument, value, TypeError
        masked = np.ma.masked_array(right, mask=False)
        for value in (masked, [masked[:1]], [[masked[:1]]], masked.astype("float16")):
            yield argument, value, TypeError
        for value in (
            np.full(right.shape, "text"),
            right.astype(bool),
            right.astype("M8[s]"),
            right.astype([("f", "f4")]),
        ):
            yield argument, value, TypeError
        for dtype in ("int64", "uint16", "float32" if right.dtype.itemsize == 1 else "int8"):
            yield argument, right.astype(dtype), TypeError
        if right.ndim > 1:
            yield argument, right[(None,) * 2], ValueError
        yield argument, right.reshape(-1)[0], ValueError
        if argument in ("bias", "add", "dy", "state", "dstate"):
            # Of dy for a bias alone, everything is free.
            if not target.name.endswith("_bias"):
                for value in (right[:-1], right[:0], np.concatenate([right, right]), right[..., :-1], right[None]):
                    yield argument, value, ValueError
            continue
        yield argument, None, TypeError
    channels = {"w_depthwise": "w_depthwise", "w_pointwise": "w_pointwise", "w": "w"}
    for argument in channels:
        right = target.arguments.get(argument)
        if right is not None:
            yield argument, right[..., :0], ValueError
    if "w_pointwise" in target.arguments:
        right = target.arguments["w_pointwise"]
        yield "w_pointwise", np.concatenate([right, right], axis=-1), ValueError
        yield "w_pointwise", right[:, :-1], ValueError
        yield "w_depthwise", target.arguments["w_depthwise"][:-1], ValueError
        yield "w_depthwise", np.repeat(target.arguments["w_depthwise"], 2, axis=1), ValueError
    if target.name.startswith(("depthwise", "causal")):
        yield "w", target.arguments["w"][:-1], ValueError
        yield "w", np.repeat(target.arguments["w"], 2, axis=1), ValueError


def bad_shapes(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for the arguments that are shapes, and for what does not fit them."""
    for argument in ("input_shape", "weight_shape", "x_shape", "w_shape"):
        right = target.arguments.get(argument)
        if right is None:
            continue
        for value in ((), right[:-2], (*right, 1, 1), (-1, *right[1:]), (*right[:-1], -3)):
            yield argument, value, ValueError
        for value in (None, 3, "2x4x6", (*right[:-1], 1.5), (*right[:-1], None), (*right[:-1], True), {2, 4, 6}):
            yield argument, value, TypeError
    for argument in ("weight_shape", "w_shape"):
        if argument in target.arguments:
            right = target.arguments[argument]
            yield argument, (*right[:-1], 0), ValueError
    if "input_shape" in target.arguments:
        right = target.arguments["input_shape"]
        yield "input_shape", (right[0], right[1] + 1, *right[2:]), ValueError
        yield "dy", ones(*target.arguments["dy"].shape)[..., 1:], ValueError
    for value in (ones(3), np.float32(3)):
        yield "dy", value, ValueError
    if "transpose" in target.name:
        for value in (-1, [0] * (target.rank + 1), 2**62):
            yield "output_padding", value, ValueError
        for value in NOT_INTS:
            yield "output_padding", value, ANY
        for size in (6, 8, -7, 0):
            yield "output_size", [size] * target.rank, ValueError
        for value in ([7] * (target.rank + 3), []):
            yield "output_size", value, ValueError
        for value in ("7", 7.0, {7}, [7.5] * target.rank):
            yield "output_size", value, ANY
        yield "padding", 10, ValueError
    elif target.takes("padding"):
        yield "padding", [(-3, -3)] * target.rank, ValueError


def bad_outs(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for ``out``."""
    if target.out_shape is None:
        return
    right = np.full(target.out_shape, 77, target.out_dtype)
    read_only = right.copy()
    read_only.setflags(write=False)
    for value in (
        right[:-1],
        right[None],
        right[..., :-1],
        right.reshape(-1),
        read_only,
        np.broadcast_to(right[:1], right.shape),
    ):
        yield "out", value, ValueError
    masked = np.ma.masked_array(right, mask=False)
    for value in (right.astype("float64"), right.astype("int64"), right.tolist(), "out", 1, GpuArray(), masked):
        yield "out", value, TypeError


def bad_integers(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for zero points."""
    for value in (-1, 256, [256], [0, 0], np.zeros((1, 1), int)):
        yield "x_zero_point", value, ValueError
    for value in (-129, 128, [0, 0], np.zeros((6, 1), int), [0] * 5 + [128]):
        yield "w_zero_point", value, ValueError
    for argument in ("x_zero_point", "w_zero_point"):
        for value in (1.0, None, "1", True, 1j, [1.5], []):
            yield argument, value, TypeError


def bad_plans(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """(argument, value, exception) for the arguments of ``plan`` alone."""
    if target.function is not fastconv.plan:
        return
    for value in ("conv4d", "conv2d_backward", "separable_conv2d", "", None, 2, ["conv2d"]):
        yield "function", value, ValueError
    for value in ("backward", "Forward", "", None, 0):
        yield "direction", value, ValueError
    for value in ("patient", "", "Pinned", 1):
        yield "effort", value, ValueError
    for value in ("cuda", "CPU", "", None, 1):
        yield "backend", value, ValueError
    for value in ("int8", "int64", "bool", np.int32, object, "f2,f2"):
        yield "dtype", value, ANY
    for value in ("float33", 3.5, {}, [1]):
        yield "dtype", value, ANY
    if "transpose" not in target.arguments["function"]:
        yield "output_padding", 0, ValueError
        yield "output_size", (6, 6), ValueError
    if "depthwise" in target.arguments["function"]:
        yield "groups", 1, ValueError


def wrong_calls(target: Target) -> Iterator[tuple[str, Any, Any]]:
    """Every wrong value of every argument that the target has."""
    for source in (bad_settings, bad_ways, bad_arrays, bad_shapes, bad_outs, bad_integers, bad_plans):
        for argument, value, exception in source(target):
            if target.takes(argument):
                yield argument, value, exception
