"""Convolutions and filters of ``dask.array``: lazy, chunk by chunk, with as much of the neighbours as they reach.

Nothing is computed before the result is asked for, not even to learn its dtype; of an array larger than memory there
are as many chunks in memory as the scheduler computes at once, on threads, processes or machines. Each task keeps to
one thread, as Dask runs as many as there are cores.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functional
from .._config import num_threads
from .._normalize.padding import padding_pairs
from . import ndimage
from ._wanted import wanted

Array = Any


def map_overlap(
    function: Callable[..., Array],
    image: Array,
    halo: Sequence[tuple[int, int]],
    *,
    wraps: bool = False,
    dtype: Any = None,
    **arguments: Any,
) -> Array:
    """Apply a filter of images to each chunk of an image and what of its neighbours the filter sees.

    Parameters
    ----------
    function : callable
        Of an array, from which it makes one of the same shape; at the image's edges, its own border is kept.
    image : dask.array.Array
    halo : sequence of (before, after) pairs, one per axis
        How far an element of the result reaches back and on.
    wraps : bool
        Outside of the image is its other end. Otherwise, what the function has there.
    dtype : dtype, optional
        Of the result. Default: the image's.
    arguments
        Passed on to ``function``.

    Returns
    -------
    dask.array.Array

    Examples
    --------
    >>> import dask.array
    >>> from fastconv.compat import dask_array, ndimage
    >>> image = dask.array.ones((100, 100), chunks=40)
    >>> dask_array.map_overlap(ndimage.uniform_filter, image, [(2, 2), (2, 2)], size=5).sum().compute().round()
    np.float64(10000.0)
    """
    with wanted("dask_array", "dask"):
        from dask import array

    _check_dask("image", image)
    if len(halo) != image.ndim:
        raise ValueError(f"halo: got {halo!r}; allowed: {image.ndim} (before, after) pairs, one per axis")
    # As much on both sides: a mirror at one edge shows what lies behind.
    depth = {axis: max(pair) for axis, pair in enumerate(halo)}
    dtype = np.dtype(image.dtype if dtype is None else dtype)
    return array.map_overlap(
        _one_thread,
        image,
        depth=depth,
        boundary="periodic" if wraps else "none",
        trim=True,
        dtype=dtype,
        meta=np.empty((0,) * image.ndim, dtype),
        function=functools.partial(function, **arguments),
    )


def correlate(image: Array, weights: Any, mode: str = "reflect", cval: Any = 0.0, origin: Any = 0) -> Array:
    """Correlate an image with weights of as many axes, as ``scipy.ndimage.correlate``.

    Parameters and result are as in ``fastconv.compat.ndimage.correlate``, but for arrays of Dask.

    Examples
    --------
    >>> import dask.array
    >>> from fastconv.compat import dask_array
    >>> dask_array.correlate(dask.array.arange(6, chunks=3), [1, 0, 2]).compute()
    array([ 2,  4,  7, 10, 13, 14])
    """
    return _weighted(ndimage.correlate, image, weights, mode, cval, origin, is_convolution=False)


def convolve(image: Array, weights: Any, mode: str = "reflect", cval: Any = 0.0, origin: Any = 0) -> Array:
    """Convolve an image with weights of as many axes, as ``scipy.ndimage.convolve``.

    Parameters and result are as in ``fastconv.compat.ndimage.convolve``, but for arrays of Dask.

    Examples
    --------
    >>> import dask.array
    >>> from fastconv.compat import dask_array
    >>> dask_array.convolve(dask.array.arange(6, chunks=3), [1, 0, 2]).compute()
    array([ 1,  2,  5,  8, 11, 13])
    """
    return _weighted(ndimage.convolve, image, weights, mode, cval, origin, is_convolution=True)


def uniform_filter(image: Array, size: Any = 3, mode: str = "reflect", cval: Any = 0.0, origin: Any = 0) -> Array:
    """Replace each element by the mean of a box around it, as ``scipy.ndimage.uniform_filter``.

    Examples
    --------
    >>> import dask.array
    >>> from fastconv.compat import dask_array
    >>> dask_array.uniform_filter(dask.array.arange(6.0, chunks=3)).compute().round(2)
    array([0.33, 1.  , 2.  , 3.  , 4.  , 4.67])
    """
    _check_dask("image", image)
    sizes, origins = _for_each("size", size, image.ndim), _for_each("origin", origin, image.ndim)
    halo = [(k // 2 + o, k - 1 - k // 2 - o) for k, o in zip(sizes, origins, strict=True)]
    more = {"size": tuple(sizes), "cval": cval, "origin": tuple(origins)}
    return _filtered(ndimage.uniform_filter, image, halo, mode, image.dtype, more)


def gaussian_filter(
    image: Array,
    sigma: Any,
    order: Any = 0,
    mode: str = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
) -> Array:
    """Blur, or differentiate, with a Gaussian, as ``scipy.ndimage.gaussian_filter``.

    Examples
    --------
    >>> import dask.array
    >>> from fastconv.compat import dask_array
    >>> dask_array.gaussian_filter(dask.array.arange(6.0, chunks=6), 1).compute().round(2)
    array([0.43, 1.07, 2.  , 3.  , 3.93, 4.57])
    """
    _check_dask("image", image)
    sigmas = [float(s) for s in (np.broadcast_to(sigma, image.ndim))]
    reach = [int(truncate * s + 0.5) if s > 1e-15 else 0 for s in sigmas]
    more = {"sigma": tuple(sigmas), "order": order, "cval": cval, "truncate": truncate}
    return _filtered(ndimage.gaussian_filter, image, [(r, r) for r in reach], mode, image.dtype, more)


def conv1d(
    x: Array, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """1-D convolution as ``fastconv.conv1d``, of an array of Dask (N, C, W)."""
    return _convolved(1, x, w, bias, stride, padding, dilation, groups)


def conv2d(
    x: Array, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """2-D convolution as ``fastconv.conv2d``, of an array of Dask (N, C, H, W).

    Its chunks may lie anywhere; all channels of one are joined. Weights and bias are arrays of NumPy.

    Examples
    --------
    >>> import dask.array, numpy as np
    >>> from fastconv.compat import dask_array
    >>> x = dask.array.ones((1, 3, 100, 80), chunks=(1, 1, 30, 30), dtype=np.float32)
    >>> dask_array.conv2d(x, np.ones((8, 3, 3, 3), np.float32), stride=2, padding=1)
    dask.array<concatenate, shape=(1, 8, 50, 40), dtype=float32, chunksize=(1, 8, 15, 15), chunktype=numpy.ndarray>
    """
    return _convolved(2, x, w, bias, stride, padding, dilation, groups)


def conv3d(
    x: Array, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Array:
    """3-D convolution as ``fastconv.conv3d``, of an array of Dask (N, C, D, H, W)."""
    return _convolved(3, x, w, bias, stride, padding, dilation, groups)


def _check_dask(name: str, array: Any) -> None:
    if type(array).__module__.partition(".")[0] != "dask":
        raise TypeError(f"{name}: got {type(array).__name__}; allowed: dask.array.Array")


def _one_thread(block: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    with num_threads(1):
        return function(block)


# Filters.


def _for_each(name: str, value: Any, count: int) -> list[int]:
    values = list(value) if np.iterable(value) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name}: got {value!r}; allowed: one int, or {count}, one per axis")
    return [operator.index(one) for one in values]


def _weighted(
    function: Callable[..., Array], image: Array, weights: Any, mode: str, cval: Any, origin: Any, is_convolution: bool
) -> Array:
    _check_dask("image", image)
    w = np.asarray(weights)
    if w.ndim != image.ndim or 0 in w.shape:
        raise ValueError(f"weights: got shape {w.shape}; allowed: {image.ndim} axes, as the image has, none of them 0")
    halo = []
    origins = _for_each("origin", origin, image.ndim)
    for k, own in zip(w.shape, origins, strict=True):
        if not -(k // 2) <= own <= (k - 1) // 2:
            raise ValueError(f"origin: got {own} for {k} weights; allowed: {-(k // 2)} to {(k - 1) // 2}")
        before = (k - 1) // 2 - own if is_convolution else k // 2 + own
        halo.append((before, k - 1 - before))
    is_complex = "c" in (image.dtype.kind, w.dtype.kind)
    dtype = np.promote_types(image.dtype, np.complex64) if is_complex else image.dtype
    return _filtered(function, image, halo, mode, dtype, {"weights": w, "cval": cval, "origin": tuple(origins)})


def _filtered(
    function: Callable[..., Array], image: Array, halo: Sequence[tuple[int, int]], mode: str, dtype: Any, more: dict
) -> Array:
    if mode not in MODES:
        raise ValueError(f"mode: got {mode!r}; allowed: {', '.join(MODES)}")
    return map_overlap(function, image, halo, wraps=mode in ("wrap", "grid-wrap"), dtype=dtype, mode=mode, **more)


MODES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant", "grid-wrap")


# Convolutions of neural networks.


def _convolved(rank: int, x: Array, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    with wanted("dask_array", "dask"):
        from dask import array

    _check_dask("x", x)
    if x.ndim != rank + 2:
        raise ValueError(f"x: got {x.ndim} axes; allowed: {rank + 2}, (N, C, ...)")
    w = np.asarray(w)
    if w.ndim != rank + 2:
        raise ValueError(f"w: got shape {w.shape}; allowed: {rank + 2} axes")
    steps, gaps = _for_each("stride", stride, rank), _for_each("dilation", dilation, rank)
    pads = padding_pairs(padding, x.shape[2:], w.shape[2:], steps, gaps)
    one = functools.partial(getattr(functional.convolution, f"conv{rank}d"), w=w, bias=bias, groups=groups, threads=1)
    x = x.rechunk({1: -1})
    spans = [
        _spans(size, chunks, k, *axis)
        for size, chunks, k, *axis in zip(x.shape[2:], x.chunks[2:], w.shape[2:], steps, pads, gaps, strict=True)
    ]
    one(np.zeros((1, x.shape[1], *w.shape[2:]), x.dtype))  # refuses what conv2d refuses
    tiles = np.empty([len(each) for each in spans], dtype=object)
    for place in itertools.product(*(range(len(each)) for each in spans)):
        own = [each[index] for each, index in zip(spans, place, strict=True)]
        window = x[(slice(None), slice(None), *(slice(start, stop) for start, stop, _, _ in own))]
        window = window.rechunk(dict.fromkeys(range(1, x.ndim), -1))
        tiles[place] = window.map_blocks(
            functools.partial(one, stride=tuple(steps), padding=[pad for _, _, pad, _ in own], dilation=tuple(gaps)),
            chunks=(window.chunks[0], (w.shape[0],), *((count,) for _, _, _, count in own)),
            dtype=x.dtype,
            meta=np.empty((0,) * x.ndim, x.dtype),
        )
    for axis in reversed(range(rank)):
        joined = np.empty(tiles.shape[:-1], dtype=object)
        for place in np.ndindex(joined.shape):
            joined[place] = array.concatenate(list(tiles[place]), axis=axis + 2)
        tiles = joined
    return tiles.item()


def _spans(
    size: int, chunks: Sequence[int], k: int, stride: int, pad: tuple[int, int], dilation: int
) -> list[tuple[int, int, tuple[int, int], int]]:
    """For each chunk of the result: start and end in the image, padding there, and how many elements come out."""
    reach = (k - 1) * dilation + 1
    before, after = pad
    if size + before + after < reach:
        raise ValueError(f"w: got a kernel that reaches over {reach}; allowed: at most {size + before + after}")
    total = (size + before + after - reach) // stride + 1
    edges = sorted(
        {min(max(-(-(end + before) // stride), 0), total) for end in itertools.accumulate(chunks)} | {0, total}
    )
    spans = []
    for first, last in itertools.pairwise(edges):
        low, high = first * stride - before, (last - 1) * stride - before + reach
        start = min(max(low, 0), size)
        stop = max(min(high, size), start)
        spans.append((start, stop, (start - low, high - stop), last - first))
    return spans
