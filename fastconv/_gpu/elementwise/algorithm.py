"""Launches of the elementwise kernels: padding modes, an activation's slope, sums by channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._border import Border
from ..._problem import ACTIVATIONS, RESULT, Epilogue
from .. import memory
from ..algorithm import Operation
from ..launch import MAX_BLOCKS, THREADS, Launch, Workspace, each, run, struct
from ..layout import Layout
from ..source import C_TYPES, kernel_source

ARRAYS = np.dtype(
    [
        *((name, np.int64, 5) for name in ("size", "source_stride", "result_stride")),
        ("slope", np.float64),
    ]
)
"""elementwise_arrays of kernels.cu."""


def _source(dtype: np.dtype, **defines: int | str) -> str:
    if dtype.kind != "c":
        defines["IS_REAL"] = 1
    return kernel_source("elementwise", {"ELEMENT": C_TYPES[dtype.name], **defines}, "elements.cuh")


def pad(border: Border, shape: Sequence[int], source: Layout, result: Layout, roles: tuple[str, str]) -> Any:
    """Launches that copy an array into one of ``shape`` with its padding; the arrays' roles are source and result."""
    c = struct(ARRAYS, size=shape, source_stride=source.strides, result_stride=result.strides)
    indices = [_on_device(_index(border, axis)) for axis in range(3)]
    return each(_source(source.dtype), "pad", math.prod(shape), *roles, *indices, c)


def fold_padding(border: Border, shape: Sequence[int], source: Layout, result: Layout, roles: tuple[str, str]) -> Any:
    """Launches that add every element of a padded array to the element of ``shape`` that it repeats."""
    c = struct(ARRAYS, size=shape, source_stride=source.strides, result_stride=result.strides)
    begins, places = [], []
    for axis in range(3):
        index = _index(border, axis)
        order = np.argsort(index, kind="stable")
        places.append(_on_device(order))
        begins.append(_on_device(np.searchsorted(index[order], np.arange(border.sizes[axis] + 1))))
    text = _source(source.dtype, RESULT=C_TYPES[result.dtype.name])
    return each(text, "fold_padding", math.prod(shape), *roles, *begins, *places, c)


def put_together(operation: Operation, products: Workspace, apart_bytes: int, factors: Sequence[int]) -> Any:
    """Launches that make a complex result of four real ones, with its bias and what is added."""
    problem, layouts = operation.problem, operation.layouts
    role = RESULT[problem.direction]
    result, add = layouts[role], layouts.get("add")
    part = np.dtype(f"f{result.dtype.itemsize // 2}")
    c = struct(
        ARRAYS,
        size=problem.result_shape,
        source_stride=0 if add is None else add.strides,
        result_stride=result.strides,
    )
    text = _source(result.dtype, PART=C_TYPES[part.name])
    arguments = (products, np.int64(apart_bytes // part.itemsize), role, "bias", "add", *map(np.int32, factors), c)
    return each(text, "put_together", math.prod(problem.result_shape), *arguments)


def _index(border: Border, axis: int) -> np.ndarray:
    index = border.indices[axis]
    return np.arange(border.sizes[axis]) if index is None else index


def _on_device(values: np.ndarray) -> Any:
    return memory.upload(values.astype(np.int64, copy=False))


def activation_gradient(activation: Epilogue, dy: Any, z: Any, threads: int) -> Any:
    """``dy`` times the activation's slope at ``z``, in the place of z."""
    if activation.activation is not None and z.size:
        size = (1,) * (5 - z.ndim) + z.shape
        own, result = _lifted(dy), _lifted(z)
        slope = activation.slope if z.dtype == np.float64 else float(np.float32(activation.slope))
        c = struct(ARRAYS, size=size, source_stride=own.strides, result_stride=result.strides, slope=slope)
        text = _source(z.dtype, ACTIVATION=1 + ACTIVATIONS.index(activation.activation))
        run(each(text, "activation_gradient", z.size, "dy", "z", c), dy=dy, z=z)
    return z


def copied(shape: Sequence[int], source: Layout, result: Layout, roles: tuple[str | Workspace, str | Workspace]) -> Any:
    """Launches that copy a real array of five axes, into another type where the result has one."""
    c = struct(ARRAYS, size=shape, source_stride=source.strides, result_stride=result.strides)
    text = _source(source.dtype, RESULT=C_TYPES[result.dtype.name])
    return each(text, "cast", math.prod(shape), *roles, c)


def cast(array: Any, dtype: np.dtype, threads: int) -> Any:
    """A real array of up to five axes in another real dtype; itself if it has that one."""
    if array.dtype == dtype:
        return array
    result = memory.empty(array.shape, dtype)
    size = (1,) * (5 - array.ndim) + array.shape
    run(copied(size, _lifted(array), _lifted(result), ("source", "result")), source=array, result=result)
    return result


def channel_sums(array: Any, threads: int) -> Any:
    """Sums of (N, C, D, H, W) over all but C, in the dtype of ``array``."""
    sums = memory.empty((array.shape[1],), array.dtype)
    if sums.size:
        run((_channel_sums(array.shape, _lifted(array)),), source=array, sums=sums)
    return sums


def prepare_sums(place: int, axes: Sequence[int], dy: Any) -> Callable[[tuple[Any, ...], Any], Any] | None:
    """``compute(arrays, out)`` for the array at ``place`` among others, which is like ``dy`` with these canonical axes;
    it returns None where that lies otherwise."""
    dtype, strides, shape = dy.dtype, dy.strides, tuple(1 if axis < 0 else dy.shape[axis] for axis in axes)
    if not shape[1]:
        return None
    start = _channel_sums(shape, Layout.of(dtype, strides, axes)).bind()

    def compute(arrays: tuple[Any, ...], out: None) -> Any:
        array = arrays[place]
        if array.strides != strides:
            return None
        sums = memory.empty((shape[1],), dtype)
        start({"source": array, "sums": sums})
        return sums

    return compute


def _channel_sums(shape: tuple[int, ...], source: Layout) -> Launch:
    c = struct(ARRAYS, size=shape, source_stride=source.strides)
    grid = (min(shape[1], MAX_BLOCKS),)
    return Launch("channel_sums", _source(source.dtype), grid, (THREADS,), ("source", "sums", c))


def _lifted(array: Any) -> Layout:
    return Layout.of(array.dtype, array.strides, [*[-1] * (5 - array.ndim), *range(array.ndim)])
