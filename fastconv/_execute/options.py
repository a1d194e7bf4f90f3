"""Calls with options and gradients with ``out``: computed by calls without them, of lowered arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._backend import backend_of
from .._normalize import convolution, gradients
from .._normalize.arguments import shape_of
from .._normalize.arrays import check_out, check_same_place
from .._normalize.options import Lowering, check_gradient, lowering, operands
from .convolution import Gradients, run, run_backward, run_sums

Options = Mapping[str, Any]
How = tuple[Any, ...]


def forward(
    rank: int, settings: Any, activation: Any, how: How, arrays: tuple[Any, ...], out: Any, options: Options
) -> Any:
    """A convolution, or a transposed one, with options."""
    given = operands(**dict(zip(("x", "w", "bias", "add"), arrays, strict=True)))
    low, x, w = _lowered(rank, settings, options, given, given["x"].shape, given["w"].shape)
    with backend_of(x).active((x,)):
        if out is not None:
            check_out(out, low.described.y_shape, low.dtype, x)
        own = (low.x(x), low.w(w), low.cast(given["bias"]), low.cast(given["add"]))
        into = out if low.wide == low.dtype else None
        y = run(convolution.forward, (rank, low.settings, activation), how, own, into)
        return y if into is not None else _into(out, y, low)


def input_gradient(
    rank: int, settings: Any, input_shape: Any, how: How, w: Any, dy: Any, out: Any, options: Options
) -> Any:
    """The gradient for x, of ``input_shape``, of a convolution with options."""
    given, shape = operands(w=w, dy=dy), shape_of("input_shape", input_shape)
    names = "input_shape", "w"
    low, _, w = _lowered(rank, settings, options, given, shape, given["w"].shape, names)
    dy = given["dy"]
    check_gradient(low, dy)
    with backend_of(dy).active((dy,)):
        if out is not None:
            check_out(out, low.x_shape, low.dtype, dy)
        own = low.w(w), low.cast(dy)
        dx = run(gradients.input_gradient, (rank, low.settings, low.lowered_x_shape), how, own)
        return _into(out, low.dx(dx), low)


def weight_gradient(
    rank: int, settings: Any, weight_shape: Any, how: How, x: Any, dy: Any, out: Any, options: Options
) -> Any:
    """The gradient for w, of ``weight_shape``, of a convolution with options."""
    given, shape = operands(x=x, dy=dy), shape_of("weight_shape", weight_shape)
    names = "x", "weight_shape"
    low, x, _ = _lowered(rank, settings, options, given, given["x"].shape, shape, names)
    dy = given["dy"]
    check_gradient(low, dy)
    with backend_of(dy).active((dy,)):
        if out is not None:
            check_out(out, low.w_shape, low.dtype, dy)
        own = low.x(x), low.cast(dy)
        dw = run(gradients.weight_gradient, (rank, low.settings, low.lowered_w_shape), how, own)
        return _into(out, low.dw(dw), low)


def backward(
    rank: int,
    settings: Any,
    activation: Any,
    needs: Any,
    how: How,
    arrays: tuple[Any, ...],
    out: Any,
    options: Options,
) -> Gradients:
    """The gradients for x, w and bias of a convolution with options, or into given arrays."""
    given = operands(**dict(zip(("dy", "x", "w", "bias", "add"), arrays, strict=True)))
    low, x, w = _lowered(rank, settings, options, given, given["x"].shape, given["w"].shape)
    dy, bias = given["dy"], given["bias"]
    check_gradient(low, dy)
    wanted = gradients.check_needs(needs, ("dx", "dw", "db"))
    shapes = low.x_shape, low.w_shape, (low.described.y_channels,)
    outs = gradients.check_outs(out, ("dx", "dw", "db"), wanted, shapes, low.dtype, dy)
    if not options and activation is None and _are_apart(outs, (dy, x, w)):
        return _each(rank, settings, how, low, wanted, outs, (dy, x, w))
    with backend_of(dy).active((dy,)):
        own = low.cast(dy), low.x(x), low.w(w), low.cast(bias), low.cast(given["add"])
        dx, dw, db = run_backward(gradients.backward, (rank, low.settings, activation, needs), how, own)
        found = low.dx(dx), low.dw(dw), db
        return tuple(  # type: ignore[return-value]
            None if result is None else _into(place, result, low) for place, result in zip(outs, found, strict=True)
        )


def _each(
    rank: int, settings: Any, how: How, low: Lowering, wanted: Any, outs: Any, arrays: tuple[Any, ...]
) -> Gradients:
    """Gradients without options, one after the other, each straight into its place."""
    dy, x, w = arrays
    dx = dw = db = None
    if wanted[0]:
        dx = run(gradients.input_gradient, (rank, settings, low.x_shape), how, (w, dy), outs[0])
    if wanted[1]:
        dw = run(gradients.weight_gradient, (rank, settings, low.w_shape), how, (x, dy), outs[1])
    if wanted[2]:
        layout = "channels_last" if low.frame.channels_last else None
        db = _into(outs[2], run_sums(gradients.bias_gradient, (rank, layout), (), (dy,)), low)
    return dx, dw, db


def _are_apart(outs: tuple[Any, ...], inputs: tuple[Any, ...]) -> bool:
    """Whether what is written to one of ``outs`` changes nothing that is read or written for another."""
    given = [array for array in outs if array is not None]
    return all(
        backend_of(array).writable_in_place(array, *inputs, *(other for other in given if other is not array))
        for array in given
    )


def _lowered(
    rank: int,
    settings: Any,
    options: Options,
    given: dict[str, Any],
    x_shape: Any,
    w_shape: Any,
    names: tuple[str, str] = ("x", "w"),
) -> tuple[Lowering, Any, Any]:
    check_same_place(**given)
    dtypes = {name: None if array is None else array.dtype for name, array in given.items()}
    low = lowering(rank, settings, options, x_shape, w_shape, dtypes, names)
    return low, given.get("x"), given.get("w")


def written(out: Any, results: Any) -> Any:
    """Several gradients, those that ``out`` has a place for there; all places are checked before one is written to."""
    if out is None:
        return results
    given = [result for result in results if result is not None]
    if not given:
        return results
    names, needs = [f"result {number}" for number in range(len(results))], [result is not None for result in results]
    shapes = [() if result is None else result.shape for result in results]
    places = gradients.check_outs(out, names, needs, shapes, given[0].dtype, given[0])
    for place, result in zip(places, results, strict=True):
        if place is not None:
            place[...] = result
    return tuple(result if place is None else place for place, result in zip(places, results, strict=True))


def _into(out: Any, result: Any, low: Lowering) -> Any:
    """The result in the user's dtype, and in ``out`` where that is given."""
    if out is not None:
        out[...] = result
        return out
    return result if result.dtype == low.dtype else result.astype(low.dtype)
