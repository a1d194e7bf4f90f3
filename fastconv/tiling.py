"""Large images and volumes, piece by piece: networks and functions on arrays larger than memory."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

Array = Any
"""NumPy's, CuPy's, or anything with a shape that slices of arrays are taken from."""
Halo = int | Sequence[int] | Sequence[tuple[int, int]]


def tiled(
    model: Callable[[Array], Array],
    image: Array,
    tile: int | Sequence[int],
    halo: Halo,
    *,
    scale: Any = 1,
    align: int | Sequence[int] | None = None,
    batch: int = 1,
    out: Array | None = None,
) -> Array:
    """Apply a network, or any function, to a large image or volume tile by tile.

    Each tile is computed from a window of the image: the tile and a halo around it, of which the results are dropped.
    Where the halo covers what a result depends on, the result is that of the whole image, up to rounding. Windows end
    where the image ends, and are moved inward there, so that a network pads the image and not its tiles, and nearly all
    windows have one shape.

    Parameters
    ----------
    model : callable
        A network in evaluation mode or a function, from an array (N, C, \\*window) to an array (N, K, \\*result).
    image : array, (N, C, \\*spatial)
        NumPy's, also one of ``np.memmap``; CuPy's; Dask's; or any object with ``shape`` whose slices are arrays. Only a
        window at a time is read from it.
    tile : int or one int per spatial axis
        How much of the image a window adds to the result.
    halo : int, one int per axis, or one (before, after) pair per axis
        How much more a window has on each side: the distance from which an element of the image changes a result.
        ``nn.receptive_field(model)`` works it out.
    scale : int, float or Fraction, or one per axis, default 1
        Size of the result for that of the image: ``Fraction(1, 4)`` for a network that halves it twice.
    align : int or one int per axis, optional
        Windows start at multiples of this number: the product of the strides on the way to the coarsest map. Default:
        what ``scale`` needs.
    batch : int, default 1
        How many windows of one shape are computed in one call.
    out : array, optional
        For the result; that of ``np.memmap`` makes it as large as a disk. It must not overlap ``image``.

    Returns
    -------
    array
        ``out``, or a new array of the kind that ``model`` returns. For one of Dask, which ``dask.array.map_overlap``
        makes, nothing of the image is computed before the result is asked for: only a window of zeros, which tells the
        shape and the dtype.

    Raises
    ------
    ValueError
        If sizes do not fit each other, or the model returns another size than ``scale`` says.
    TypeError
        If an argument is of the wrong type.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> image, w = np.random.default_rng(0).random((1, 1, 300, 200)), np.ones((1, 1, 5, 5)) / 25
    >>> blur = lambda x: fastconv.conv2d(x, w, padding=2)
    >>> np.allclose(fastconv.tiled(blur, image, tile=64, halo=2), blur(image))
    True
    """
    axes = _axes(model, image, tile, halo, scale, align)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch: got {batch!r}; allowed: an int of 1 or more")
    if type(image).__module__.partition(".")[0] == "dask":
        if batch != 1 or out is not None:
            raise ValueError("batch and out are not for an image of Dask: its chunks are the tiles; store the result")
        return _dask_tiled(model, image, axes)
    if (
        out is not None
        and isinstance(image, np.ndarray)
        and isinstance(out, np.ndarray)
        and np.shares_memory(image, out)
    ):
        raise ValueError("out: got an array that overlaps image; allowed: memory of its own")
    return _tiled(model, image, axes, batch, out)


class Span(NamedTuple):
    """A tile on one axis."""

    start: int
    """Of the window, in the image."""
    stop: int
    first: int
    """Of what the tile adds, in the result."""
    last: int | None
    """None: to the result's end."""

    @property
    def window(self) -> slice:
        return slice(self.start, self.stop)


class Axis(NamedTuple):
    """How one spatial axis is cut."""

    number: int
    size: int
    tile: int
    before: int
    after: int
    scale: Fraction
    align: int

    def spans(self) -> list[Span]:
        """All tiles: those at an end have their window moved inward, and the last one's reaches to the end."""
        length = self.before + self.tile + self.after
        furthest = max(self.size - length, 0) // self.align * self.align
        spans = []
        for core in range(0, self.size, self.tile):
            end = core + self.tile
            start = min(max(core - self.before, 0), furthest)
            stop = min(start + length, self.size)
            last = None if end >= self.size else int(end * self.scale)
            if last is None or stop < min(end + self.after, self.size):
                stop = self.size
            spans.append(Span(start, stop, int(core * self.scale), last))
        return spans

    def check(self, length: int, result: int) -> None:
        """Raise ValueError where ``result`` elements for a window of ``length`` contradict scale and halo."""
        least = (length - self.before - self.after) * self.scale - max(Fraction(1), self.scale)
        if not least < result <= math.ceil(length * self.scale):
            raise ValueError(
                f"scale: got {self.scale} for axis {self.number}, where the model returns {result} elements for "
                f"{length}; allowed: about {Fraction(result, length).limit_denominator(64)}, or a halo of more than "
                f"({self.before}, {self.after})"
            )


def _axes(model: Any, image: Any, tile: Any, halo: Any, scale: Any, align: Any) -> list[Axis]:
    """The arguments, checked, for each spatial axis."""
    if not callable(model):
        raise TypeError(f"model: got {model!r}; allowed: a network or another callable")
    if getattr(model, "training", False) is True:
        raise ValueError(
            "model: got a network in training mode, whose results depend on the batch; needed: model.eval()"
        )
    shape = getattr(image, "shape", None)
    if not isinstance(shape, tuple):
        raise TypeError(f"image: got {type(image).__name__}; allowed: an array")
    if len(shape) < 3 or 0 in shape:
        raise ValueError(
            f"image: got shape {shape}; allowed: (N, C, *spatial), none of them 0; image[None, None] adds N, C"
        )
    count = len(shape) - 2
    axes = []
    each = zip(shape[2:], _each("tile", tile, count), _halos(halo, count), _each("scale", scale, count), strict=True)
    aligns = [None] * count if align is None else _each("align", align, count)
    for number, (size, own_tile, sides, own_scale) in enumerate(each, start=2):
        ratio = _ratio(own_scale)
        own_align = _number("align", ratio.denominator if aligns[number - 2] is None else aligns[number - 2], 1)
        if own_align % ratio.denominator:
            raise ValueError(f"align: got {own_align}; allowed: multiples of {ratio.denominator}, as scale is {ratio}")
        length = _number("tile", own_tile, 1)
        if length % own_align and length < size:
            raise ValueError(f"tile: got {length}; allowed: multiples of {own_align}, to which windows are aligned")
        # More of a halo is never wrong: rounded up, windows start where they should.
        before, after = (-(-_number("halo", side, 0) // own_align) * own_align for side in sides)
        axes.append(Axis(number, size, min(length, -(-size // own_align) * own_align), before, after, ratio, own_align))
    return axes


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value for each axis."""
    if isinstance(value, (list, tuple, np.ndarray)):
        if len(value) != count:
            raise ValueError(f"{name}: got {value!r}; allowed: one value, or {count}, one per spatial axis")
        return list(value)
    return [value] * count


def _halos(halo: Any, count: int) -> list[tuple[Any, Any]]:
    """(before, after) for each axis."""
    sides = []
    for each in _each("halo", halo, count):
        pair = tuple(each) if isinstance(each, (list, tuple, np.ndarray)) else (each, each)
        if len(pair) != 2:
            raise ValueError(f"halo: got {halo!r}; allowed: an int, one int per axis, or one (before, after) per axis")
        sides.append((pair[0], pair[1]))
    return sides


def _number(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}; allowed: ints of {least} or more") from None
    if number < least:
        raise ValueError(f"{name}: got {value!r}; allowed: ints of {least} or more")
    return number


def _ratio(scale: Any) -> Fraction:
    """Of a float, the simple fraction that it stands for."""
    try:
        ratio = Fraction(scale).limit_denominator(4096)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"scale: got {scale!r}; allowed: positive numbers") from None
    if ratio <= 0:
        raise ValueError(f"scale: got {scale!r}; allowed: positive numbers")
    return ratio


# On arrays.


def _tiled(model: Callable[[Array], Array], image: Array, axes: list[Axis], batch: int, out: Array | None) -> Array:
    """The last tile is computed first: where it ends, the result ends."""
    grids = [axis.spans() for axis in axes]
    corner = [spans[-1] for spans in grids]
    last = (image.shape[0] - 1, *corner)
    y = _apply(model, _windows(image, [last]))
    ends = []
    for axis, span, result in zip(axes, corner, y.shape[2:], strict=True):
        axis.check(span.stop - span.start, result)
        ends.append(int(span.start * axis.scale) + result)
    shape = (image.shape[0], y.shape[1], *ends)
    if out is None:
        out = np.empty_like(y, shape=shape, order="C")
    elif getattr(out, "shape", None) != shape:
        raise ValueError(f"out: got shape {getattr(out, 'shape', None)}; allowed: the result's, {shape}")
    _store(out, y, [last], axes)
    waiting: dict[tuple[int, ...], list[Any]] = {}
    for number, spans in itertools.product(range(image.shape[0]), itertools.product(*grids)):
        place = (number, *spans)
        if place == last:
            continue
        lengths = tuple(span.stop - span.start for span in spans)
        places = waiting.setdefault(lengths, [])
        places.append(place)
        if len(places) == batch:
            _store(out, _apply(model, _windows(image, waiting.pop(lengths))), places, axes)
    for places in waiting.values():
        _store(out, _apply(model, _windows(image, places)), places, axes)
    return out


def _windows(image: Array, places: list[Any]) -> Array:
    """The windows at these places, one behind another on the first axis, in memory of their own."""
    windows = []
    for number, *spans in places:
        window = image[(slice(number, number + 1), slice(None), *(span.window for span in spans))]
        # A memory map's window becomes a plain array; what is on a GPU stays there.
        windows.append(window if hasattr(window, "__cuda_array_interface__") else np.asarray(window))
    return np.concatenate(windows)


def _apply(model: Callable[[Array], Array], x: Array) -> Array:
    """The model's result, with as many images as it is given."""
    y = model(x)
    shape = getattr(y, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != x.ndim or shape[0] != x.shape[0]:
        found = type(y).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"model: returned {found} for a window of shape {x.shape}; allowed: (N, K, *result), N as there"
        )
    return y


def _store(out: Array, y: Array, places: list[Any], axes: list[Axis]) -> None:
    """Put what the tiles add to their places in the result."""
    if y.shape[1] != out.shape[1]:
        raise ValueError(f"model: returned {y.shape[1]} channels for one window and {out.shape[1]} for another")
    for result, (number, *spans) in zip(y, places, strict=True):
        target: list[Any] = [number, slice(None)]
        source: list[Any] = [slice(None)]
        for axis, span, length in zip(axes, spans, result.shape[1:], strict=True):
            axis.check(span.stop - span.start, length)
            origin = int(span.start * axis.scale)
            end = out.shape[axis.number]
            first = min(span.first, end)
            last = end if span.last is None else min(span.last, end)
            if last > origin + length:
                raise ValueError(
                    f"halo: got ({axis.before}, {axis.after}) for axis {axis.number}, where the model returns {length} "
                    f"elements for {span.stop - span.start}; allowed: at least what its result lacks at the end"
                )
            target.append(slice(first, last))
            source.append(slice(first - origin, last - origin))
        out[tuple(target)] = result[tuple(source)]


# On Dask's arrays.


def _dask_tiled(model: Callable[[Array], Array], image: Array, axes: list[Axis]) -> Array:
    """A chunk of the result for each tile; neighbours share their edges by ``map_overlap``."""
    from dask import array

    chunks = [(1,) * image.shape[0], (image.shape[1],), *(_chunks(axis) for axis in axes)]
    spans = [axis.spans()[-1] for axis in axes]
    zeros = np.zeros((1, image.shape[1], *(span.stop - span.start for span in spans)), image.dtype)
    y = _apply(model, zeros)
    results = []
    for axis, span, sizes, length in zip(axes, spans, chunks[2:], y.shape[2:], strict=True):
        axis.check(span.stop - span.start, length)
        end = int(span.start * axis.scale) + length
        edges = [min(int(edge * axis.scale), end) for edge in itertools.accumulate(sizes[:-1], initial=0)]
        results.append(tuple(b - a for a, b in itertools.pairwise([*edges, end])))
    depth = {axis.number: (axis.before, axis.after) if len(chunks[axis.number]) > 1 else 0 for axis in axes}
    return array.map_overlap(
        DaskTile(model, axes, (chunks[0], (y.shape[1],), *results)),
        image.rechunk(tuple(chunks)),
        depth=depth,
        boundary="none",
        trim=False,
        allow_rechunk=False,
        chunks=(chunks[0], (y.shape[1],), *results),
        dtype=y.dtype,
        meta=np.empty((0,) * image.ndim, y.dtype),
    )


def _chunks(axis: Axis) -> tuple[int, ...]:
    """Sizes of the tiles; a last one no larger than a halo, or smaller than align, joins the one before it."""
    halo = max(axis.before, axis.after)
    if axis.tile < min(halo, axis.size):
        raise ValueError(f"tile: got {axis.tile} for axis {axis.number}; allowed for Dask: {halo}, the halo, or more")
    sizes = [axis.tile] * (axis.size // axis.tile) + [axis.size % axis.tile] * bool(axis.size % axis.tile)
    if len(sizes) > 1 and sizes[-1] < max(halo + 1, axis.align):
        sizes[-2:] = [sum(sizes[-2:])]
    return tuple(sizes)


class DaskTile:
    """What is computed for one chunk with its halo: the model's result without that of the halo."""

    __name__ = "tiled"

    def __init__(self, model: Callable[[Array], Array], axes: list[Axis], chunks: tuple[tuple[int, ...], ...]) -> None:
        self.model, self.axes, self.chunks = model, axes, chunks

    def __call__(self, window: Array, block_info: Any = None) -> Array:
        y = _apply(self.model, window)
        location = block_info[0]["chunk-location"]
        kept = [slice(None), slice(None)]
        for axis, length, size in zip(self.axes, y.shape[2:], window.shape[2:], strict=True):
            axis.check(size, length)
            first = int(axis.before * axis.scale) if location[axis.number] else 0
            wanted = self.chunks[axis.number][location[axis.number]]
            if first + wanted > length:
                raise ValueError(
                    f"model: returned {length} elements on axis {axis.number} for a window of {size}; "
                    f"needed: {first + wanted}"
                )
            kept.append(slice(first, first + wanted))
        return y[tuple(kept)]
