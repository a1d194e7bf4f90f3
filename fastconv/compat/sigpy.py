"""``sigpy``'s convolutions, with its signatures, computed by fastconv: on NumPy's arrays, and on CuPy's without cuDNN.

``install()`` puts the three functions in the place of sigpy's, so that its linear operators and apps use them. sigpy
itself is needed for that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import functional, grad
from ._general import Window
from ._general import convolve as convolve_general
from ._wanted import wanted

Array = Any
Sizes = tuple[int, ...]


def convolve(
    data: Array, filt: Array, mode: str = "full", strides: Sequence[int] | None = None, multi_channel: bool = False
) -> Array:
    """Convolve arrays of any number of axes and channels, as ``sigpy.convolve``; the filter is flipped.

    Parameters
    ----------
    data : array, (..., \\*sizes), or with ``multi_channel`` (..., channels, \\*sizes)
    filt : array, (\\*sizes), or with ``multi_channel`` (out channels, channels, \\*sizes)
        Its number of sizes says how many axes are convolved; all before are batch.
    mode : {"full", "valid"}
    strides : sequence of int, optional
        One per convolved axis.
    multi_channel : bool

    Returns
    -------
    array
        Of data's dtype, (..., \\*sizes) or (..., out channels, \\*sizes).

    Raises
    ------
    ValueError
        If sizes, strides or mode do not fit.
    TypeError
        If the filter is complex and the data is not.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import sigpy
    >>> sigpy.convolve(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0]), strides=[2])
    array([1., 5.])
    """
    sizes = _sizes(data.shape, filt.shape, mode, strides, multi_channel)
    _check_complex("filt", filt, "data", data)
    x, w = data.reshape((sizes.batch, sizes.channels, *sizes.data)), filt.reshape(sizes.filters)
    y = _convolved(x, _flipped(w, sizes.rank), sizes).astype(data.dtype, copy=False)
    return y.reshape(sizes.lead + ((sizes.out_channels,) if multi_channel else ()) + sizes.output)


def convolve_data_adjoint(
    output: Array,
    filt: Array,
    data_shape: Sequence[int],
    mode: str = "full",
    strides: Sequence[int] | None = None,
    multi_channel: bool = False,
) -> Array:
    """The adjoint of ``convolve`` with respect to data, as ``sigpy.convolve_data_adjoint``.

    Parameters are as in ``convolve``; the result is an array of ``data_shape`` and of output's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import sigpy
    >>> sigpy.convolve_data_adjoint(np.array([1.0, 5.0]), np.array([1.0, 1.0]), (3,), strides=[2])
    array([1., 5., 5.])
    """
    sizes = _sizes(data_shape, filt.shape, mode, strides, multi_channel)
    _check_complex("filt", filt, "output", output)
    dy, w = _as_output(output, sizes), filt.reshape(sizes.filters)
    if dy.dtype.kind in "fc" and sizes.rank <= 3:
        dy, w = _typed(dy, w)
        gradient = getattr(grad, f"conv{sizes.rank}d_input")
        shape = (sizes.batch, sizes.channels, *sizes.data)
        dx = gradient(shape, _flipped(w, sizes.rank), dy, sizes.strides, sizes.pads, precision="highest")
    else:
        before = [0 if mode == "full" else k - 1 for k in sizes.kernel]
        dx = _spread(dy, w.conj().swapaxes(0, 1), before, sizes.data, sizes)
    return dx.astype(output.dtype, copy=False).reshape(tuple(data_shape))


def convolve_filter_adjoint(
    output: Array,
    data: Array,
    filt_shape: Sequence[int],
    mode: str = "full",
    strides: Sequence[int] | None = None,
    multi_channel: bool = False,
) -> Array:
    """The adjoint of ``convolve`` with respect to the filter, as ``sigpy.convolve_filter_adjoint``.

    Parameters are as in ``convolve``; the result is an array of ``filt_shape`` and of output's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import sigpy
    >>> sigpy.convolve_filter_adjoint(np.array([1.0, 5.0]), np.array([1.0, 2.0, 3.0]), (2,), strides=[2])
    array([16., 10.])
    """
    sizes = _sizes(data.shape, filt_shape, mode, strides, multi_channel)
    _check_complex("data", data, "output", output)
    dy, x = _as_output(output, sizes), data.reshape((sizes.batch, sizes.channels, *sizes.data))
    if dy.dtype.kind in "fc" and sizes.rank <= 3:
        dy, x = _typed(dy, x)
        gradient = getattr(grad, f"conv{sizes.rank}d_weight")
        dw = gradient(x, sizes.filters, dy, sizes.strides, sizes.pads, precision="highest")
        dw = _flipped(dw, sizes.rank)
    else:
        before = [0 if mode == "full" else k - 1 for k in sizes.kernel]
        dw = _spread(dy.swapaxes(0, 1), x.conj().swapaxes(0, 1), before, sizes.kernel, sizes)
    return dw.astype(output.dtype, copy=False).reshape(tuple(filt_shape))


def install() -> None:
    """Put these functions in the place of sigpy's."""
    with wanted("sigpy"):
        import sigpy

    for function in (convolve, convolve_data_adjoint, convolve_filter_adjoint):
        setattr(sigpy.conv, function.__name__, function)
        setattr(sigpy, function.__name__, function)


class Convolution(NamedTuple):
    """The sizes of one convolution."""

    lead: Sizes
    """Of the axes that are batch."""
    channels: int
    out_channels: int
    data: Sizes
    kernel: Sizes
    strides: Sizes
    pads: tuple[tuple[int, int], ...]
    output: Sizes

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def batch(self) -> int:
        return prod(self.lead)

    @property
    def filters(self) -> Sizes:
        return (self.out_channels, self.channels, *self.kernel)


def _sizes(
    data_shape: Sequence[int], filt_shape: Sequence[int], mode: str, strides: Any, multi_channel: bool
) -> Convolution:
    rank = len(filt_shape) - 2 * bool(multi_channel)
    if rank < 1 or len(data_shape) < rank + bool(multi_channel):
        raise ValueError(
            f"filt: got shape {tuple(filt_shape)} for data of shape {tuple(data_shape)}; allowed: no more axes"
        )
    data, kernel = tuple(data_shape[-rank:]), tuple(filt_shape[-rank:])
    out_channels, channels = tuple(filt_shape[:2]) if multi_channel else (1, 1)
    if multi_channel and data_shape[-rank - 1] != channels:
        raise ValueError(f"filt: got {channels} channels; allowed: {data_shape[-rank - 1]}, those of data")
    steps = (1,) * rank if strides is None else tuple(int(step) for step in strides)
    if len(steps) != rank or min(steps) < 1:
        raise ValueError(f"strides: got {strides}; allowed: {rank} ints of 1 or more")
    if mode not in ("full", "valid"):
        raise ValueError(f'mode: got {mode!r}; allowed: "full", "valid"')
    if mode == "valid" and any(m < k for m, k in zip(data, kernel, strict=True)):
        raise ValueError(f'filt: got sizes {kernel} with mode "valid"; allowed: at most those of data, {data}')
    pads = tuple((k - 1, k - 1) if mode == "full" else (0, 0) for k in kernel)
    whole = [m + sum(pad) - k + 1 for m, k, pad in zip(data, kernel, pads, strict=True)]
    output = tuple(-(-size // step) for size, step in zip(whole, steps, strict=True))
    lead = tuple(data_shape[: len(data_shape) - rank - bool(multi_channel)])
    return Convolution(lead, channels, out_channels, data, kernel, steps, pads, output)


def _check_complex(name: str, array: Array, other_name: str, other: Array) -> None:
    if array.dtype.kind == "c" and other.dtype.kind != "c":
        raise TypeError(f"{name}: got {array.dtype}; allowed with {other_name} of {other.dtype}: real numbers")


def _as_output(output: Array, sizes: Convolution) -> Array:
    shape = (sizes.batch, sizes.out_channels, *sizes.output)
    if output.size != prod(shape):
        raise ValueError(f"output: got shape {output.shape}; allowed: what convolve returns, {shape}")
    return output.reshape(shape)


def _flipped(w: Array, rank: int) -> Array:
    return w[(slice(None), slice(None), *[slice(None, None, -1)] * rank)]


def _typed(a: Array, b: Array) -> tuple[Array, Array]:
    dtype = np.result_type(a.dtype, b.dtype)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def _convolved(x: Array, w: Array, sizes: Convolution) -> Array:
    x, w = _typed(x, w)
    if x.dtype.kind in "fc" and sizes.rank <= 3:
        function = getattr(functional.convolution, f"conv{sizes.rank}d")
        return function(x, w, None, sizes.strides, sizes.pads, precision="highest")
    ones = (1,) * sizes.rank
    return convolve_general(x, w, Window(sizes.strides, sizes.pads, ones, ones), 1, 1, x.dtype)


def _spread(dy: Array, w: Array, before: Sequence[int], wanted: Sizes, sizes: Convolution) -> Array:
    """dy, with zeros between its elements, correlated with w to an array of the wanted sizes."""
    dy, w = _typed(dy, w)
    pads = tuple(
        (low, size + k - 1 - low - (length - 1) * step - 1)
        for low, size, k, length, step in zip(before, wanted, w.shape[2:], dy.shape[2:], sizes.strides, strict=True)
    )
    ones = (1,) * sizes.rank
    return convolve_general(dy, w, Window(ones, pads, sizes.strides, ones), 1, 1, dy.dtype)
