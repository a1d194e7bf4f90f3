"""Convolutions and pooling that HIPS autograd differentiates, any number of times.

``conv``, ``conv_input_grad`` and ``conv_weight_grad`` are bilinear, and the derivatives of each are the other two; so
are ``conv_transpose`` and its own. Pooling's gradients are linear. ``convolve`` is ``autograd.scipy.signal``'s;
``install()`` puts it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import grad, pooling
from ..functional import convolution
from ._wanted import wanted

with wanted("autograd"):
    import autograd.numpy as anp
    from autograd.extend import defjvp, defvjp, primitive

__all__ = [
    "avg_pool",
    "avg_pool_grad",
    "conv",
    "conv_input_grad",
    "conv_transpose",
    "conv_weight_grad",
    "convolve",
    "install",
    "max_pool",
    "max_pool_grad",
    "uninstall",
]

Array = Any

CHANNELS_LAST = ("NWC", "NHWC", "NDHWC", "CHANNELS_LAST")
MODES = ("full", "same", "valid")


@primitive
def conv(x: Array, w: Array, **how: Any) -> Array:
    """``fastconv.conv1d``, ``conv2d`` or ``conv3d``, by the number of axes.

    Parameters
    ----------
    x : array, (N, C, ...)
    w : array, (K, C / groups, ...)
        Of another dtype: both are promoted; integers become float64. A bias is added to the result.
    **how
        ``stride``, ``padding``, ``dilation``, ``groups``, ``padding_mode``, ``layout``, ``w_layout`` and ``precision``
        of ``fastconv.conv2d``.

    Examples
    --------
    >>> import autograd, autograd.numpy as np  # doctest: +SKIP
    >>> from fastconv.compat.autograd import conv  # doctest: +SKIP
    >>> x, w = np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3))  # doctest: +SKIP
    >>> autograd.grad(lambda w: np.sum(conv(x, w, padding=1) ** 2))(w).shape  # doctest: +SKIP
    (3, 2, 3, 3)
    """
    x, w = _alike(x, w)
    return _of_rank(convolution, "conv{}d", x)(x, w, **how)


@primitive
def conv_input_grad(w: Array, dy: Array, shape: Sequence[int], **how: Any) -> Array:
    """What ``conv``'s derivative for x, of that ``shape``, is of ``dy``; without conjugating, as autograd's are."""
    w, dy = _alike(w, dy)
    return _of_rank(grad, "conv{}d_input", w)(tuple(shape), np.conj(w), dy, **how)


@primitive
def conv_weight_grad(x: Array, dy: Array, shape: Sequence[int], **how: Any) -> Array:
    """What ``conv``'s derivative for w, of that ``shape``, is of ``dy``; without conjugating, as autograd's are."""
    x, dy = _alike(x, dy)
    return _of_rank(grad, "conv{}d_weight", x)(np.conj(x), tuple(shape), dy, **how)


def conv_transpose(x: Array, w: Array, shape: Sequence[int], **how: Any) -> Array:
    """``fastconv.conv_transpose2d`` to a result of ``shape``, of which there are several where strides are above 1.

    Parameters
    ----------
    x : array, (N, C, ...)
    w : array, (C, K / groups, ...)
    **how
        As in ``conv``, of the convolution that takes the result to x's shape.
    """
    return conv_input_grad(w, x, shape, **how)


def _real(of: Array, g: Array) -> Array:
    """A derivative for ``of``: where that is real, autograd's space of it is, too."""
    return g if np.iscomplexobj(of) else anp.real(g)


defvjp(
    conv,
    lambda y, x, w, **how: lambda g: _real(x, conv_input_grad(w, g, x.shape, **how)),
    lambda y, x, w, **how: lambda g: _real(w, conv_weight_grad(x, g, w.shape, **how)),
)
defvjp(
    conv_input_grad,
    lambda dx, w, dy, shape, **how: lambda g: _real(w, conv_weight_grad(g, dy, w.shape, **how)),
    lambda dx, w, dy, shape, **how: lambda g: _real(dy, conv(g, w, **how)),
    argnums=(0, 1),
)
defvjp(
    conv_weight_grad,
    lambda dw, x, dy, shape, **how: lambda g: _real(x, conv_input_grad(g, dy, x.shape, **how)),
    lambda dw, x, dy, shape, **how: lambda g: _real(dy, conv(x, g, **how)),
    argnums=(0, 1),
)
defjvp(conv, lambda g, y, x, w, **how: conv(g, w, **how), lambda g, y, x, w, **how: conv(x, g, **how))
defjvp(
    conv_input_grad,
    lambda g, dx, w, dy, shape, **how: conv_input_grad(g, dy, shape, **how),
    lambda g, dx, w, dy, shape, **how: conv_input_grad(w, g, shape, **how),
    argnums=(0, 1),
)
defjvp(
    conv_weight_grad,
    lambda g, dw, x, dy, shape, **how: conv_weight_grad(g, dy, shape, **how),
    lambda g, dw, x, dy, shape, **how: conv_weight_grad(x, g, shape, **how),
    argnums=(0, 1),
)


@primitive
def max_pool(x: Array, kernel_size: Any, **how: Any) -> Array:
    """``fastconv.max_pool1d``, ``max_pool2d`` or ``max_pool3d``, by the number of axes of x (N, C, ...).

    Parameters
    ----------
    kernel_size, **how
        ``stride``, ``padding``, ``dilation``, ``ceil_mode`` and ``layout`` of ``fastconv.max_pool2d``.
    """
    return _of_rank(pooling, "max_pool{}d", x)(x, kernel_size, **how)


@primitive
def max_pool_grad(dy: Array, x: Array, kernel_size: Any, **how: Any) -> Array:
    """``dy`` at the largest of each window of ``x``, zeros elsewhere: linear in ``dy``, constant around ``x``."""
    return _of_rank(pooling, "max_pool{}d_backward", x)(dy, x, kernel_size, **how)


@primitive
def _at_largest(g: Array, x: Array, kernel_size: Any, **how: Any) -> Array:
    """The elements of ``g`` where the largest of each window of ``x`` is."""
    _, places = _of_rank(pooling, "max_pool{}d", x)(x, kernel_size, return_indices=True, **how)
    if last := str(how.get("layout") or "").upper() in CHANNELS_LAST:
        g, places = np.moveaxis(g, -1, 1), np.moveaxis(places, -1, 1)
    planes = np.shape(g)[:2]
    taken = np.take_along_axis(g.reshape(*planes, -1), places.reshape(*planes, -1), axis=2).reshape(places.shape)
    return np.moveaxis(taken, 1, -1) if last else taken


defvjp(
    max_pool,
    lambda y, x, kernel_size, **how: lambda g: max_pool_grad(g, x, kernel_size, **how),
    argnums=(0,),
)
defvjp(
    max_pool_grad,
    lambda dx, dy, x, kernel_size, **how: lambda g: _at_largest(g, x, kernel_size, **how),
    None,
    argnums=(0, 1),
)
defvjp(
    _at_largest,
    lambda y, g, x, kernel_size, **how: lambda h: max_pool_grad(h, x, kernel_size, **how),
    None,
    argnums=(0, 1),
)
defjvp(max_pool, lambda g, y, x, kernel_size, **how: _at_largest(g, x, kernel_size, **how), argnums=(0,))
defjvp(max_pool_grad, "same", None, argnums=(0, 1))
defjvp(_at_largest, "same", None, argnums=(0, 1))


@primitive
def avg_pool(x: Array, kernel_size: Any, **how: Any) -> Array:
    """``fastconv.avg_pool1d``, ``avg_pool2d`` or ``avg_pool3d``, by the number of axes of x (N, C, ...).

    Parameters
    ----------
    kernel_size, **how
        ``stride``, ``padding``, ``ceil_mode``, ``count_include_pad``, ``divisor_override``, ``dilation`` and ``layout``
        of ``fastconv.avg_pool2d``.
    """
    return _of_rank(pooling, "avg_pool{}d", x)(x, kernel_size, **how)


@primitive
def avg_pool_grad(dy: Array, shape: Sequence[int], kernel_size: Any, **how: Any) -> Array:
    """What ``avg_pool``'s derivative for x, of that ``shape``, is of ``dy``."""
    x = np.broadcast_to(np.zeros((), dy.dtype), shape)
    return _of_rank(pooling, "avg_pool{}d_backward", dy)(dy, x, kernel_size, **how)


defvjp(
    avg_pool,
    lambda y, x, kernel_size, **how: lambda g: avg_pool_grad(g, x.shape, kernel_size, **how),
    argnums=(0,),
)
defvjp(
    avg_pool_grad,
    lambda dx, dy, shape, kernel_size, **how: lambda g: avg_pool(g, kernel_size, **how),
    argnums=(0,),
)
defjvp(avg_pool, "same", argnums=(0,))
defjvp(avg_pool_grad, "same", argnums=(0,))


def _of_rank(module: Any, name: str, array: Array) -> Callable[..., Array]:
    rank = np.ndim(array) - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"got an array of shape {np.shape(array)}; allowed: batch, channels, and one to three axes")
    function: Callable[..., Array] = getattr(module, name.format(rank))
    return function


def _alike(*arrays: Array) -> list[np.ndarray]:
    dtype = np.result_type(*arrays)
    if dtype.kind in "biu":
        dtype = np.dtype(float)
    return [np.asarray(array, dtype) for array in arrays]


def convolve(A: Array, B: Array, axes: Any = None, dot_axes: Any = ((), ()), mode: str = "full") -> Array:
    """``autograd.scipy.signal.convolve``: along ``axes`` of A and of B, summed over ``dot_axes`` of both.

    Parameters
    ----------
    A, B : array
    axes : two sequences of int, optional
        At most three of each, equally many; the default is all.
    dot_axes : two sequences of int
    mode : {"full", "valid", "same"}

    Returns
    -------
    array
        Its axes: those of A that are in neither list, those of B, and the convolved ones.
    """
    if mode not in MODES:
        raise AssertionError(f"Mode {mode} undefined, it can be one of 'valid', 'full', and 'same'")
    axes = [range(np.ndim(A)), range(np.ndim(A))] if axes is None else axes
    axes, dot_axes = [list(each) for each in axes], [list(each) for each in dot_axes]
    sizes = [[np.shape(X)[axis] for axis in of_X] for X, of_X in zip((A, B), axes, strict=True)]
    if mode == "valid" and any(b > a for a, b in zip(*sizes, strict=True)):
        if any(b < a for a, b in zip(*sizes, strict=True)):
            raise ValueError("One array must be larger than the other along all convolved dimensions")
        swapped = convolve(B, A, axes[::-1], dot_axes[::-1], mode)
        of_B, of_A = (np.ndim(X) - len(c) - len(d) for X, c, d in zip((B, A), axes[::-1], dot_axes[::-1], strict=True))
        rest = range(of_A + of_B, np.ndim(swapped))
        return anp.transpose(swapped, [*range(of_B, of_B + of_A), *range(of_B), *rest])
    x, of_x = _as_images(A, axes[0], dot_axes[0])
    w, of_w = _as_images(B, axes[1], dot_axes[1])
    w = w[(slice(None), slice(None), *[slice(None, None, -1)] * (np.ndim(w) - 2))]
    reaches = [size - 1 for size in np.shape(w)[2:]]
    pads = {"full": [(reach, reach) for reach in reaches], "valid": [(0, 0)] * len(reaches)}
    pads["same"] = [(reach - reach // 2, reach // 2) for reach in reaches]
    y = conv(x, w, padding=pads[mode])
    return anp.reshape(y, (*of_x, *of_w, *(np.shape(y)[2:] if axes[0] else ())))


def _as_images(X: Array, convolved: list[int], dotted: list[int]) -> tuple[Array, list[int]]:
    """(The other axes in one, the dotted ones in one, the convolved ones), and the sizes of the other axes."""
    if len(convolved) > 3:
        raise NotImplementedError(f"axes: got {convolved}; allowed: at most three")
    others = [axis for axis in range(np.ndim(X)) if axis not in convolved and axis not in dotted]
    shape = np.shape(X)
    rows, dots, tail = ([shape[axis] for axis in group] for group in (others, dotted, convolved))
    X = anp.transpose(X, [*others, *dotted, *convolved])
    return anp.reshape(X, (prod(rows), prod(dots), *(tail or [1]))), rows


_own: list[Callable[..., Any]] = []
"""autograd's convolve, where ``install`` has replaced it."""


def install() -> None:
    """Have ``autograd.scipy.signal.convolve`` computed by fastconv, until ``uninstall()``."""
    from autograd.scipy import signal

    if not _own:
        _own.append(signal.convolve)
        signal.convolve = convolve


def uninstall() -> None:
    """Give autograd its own function back."""
    from autograd.scipy import signal

    if _own:
        signal.convolve = _own.pop()
