"""``jax.lax``'s convolutions on plain arrays, with its signatures, without JAX; and, where JAX is installed, for JAX.

For arrays of NumPy (or what ``numpy.asarray`` makes one of) the functions compute at once and return arrays of NumPy.
For arrays of JAX, inside of ``jax.jit``, ``grad``, ``vmap`` and the like as well, they return arrays of JAX, computed
by fastconv on the host. ``install()`` has the functions of ``jax.lax`` itself do so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._general import convolve, dilated
from ._lax_arguments import ConvDimensionNumbers, arguments, conv_dimension_numbers, result_dtype, transposed_pads
from ._wanted import wanted

__all__ = [
    "ConvDimensionNumbers",
    "conv",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_transpose",
    "conv_with_general_padding",
    "install",
]

Array = Any


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Array:
    """General convolution with any number of spatial axes; the kernel is not flipped.

    Parameters
    ----------
    lhs, rhs : array
        Images and kernels, of one dtype: any of integers, floats (those of ``ml_dtypes`` as well) and complex numbers.
    window_strides : sequence of int
        One per spatial axis, in the order of the axes of ``rhs``; so are all that follow.
    padding : "VALID", "SAME", "SAME_LOWER", or one (low, high) pair per spatial axis
        Negative numbers crop, after ``lhs_dilation``.
    lhs_dilation, rhs_dilation : sequence of int, optional
        Distances of the elements of image and kernel, between which zeros are thought.
    dimension_numbers : three strings, ConvDimensionNumbers, or None for ("NCHW", "OIHW", "NCHW") of that many axes
    feature_group_count, batch_group_count : int
        Groups of channels, or of the batch; at most one of them is more than 1.
    precision : optional
        What ``jax.lax`` takes. float32 is computed as at fastconv's precision "highest", whatever is asked for.
    preferred_element_type : dtype, optional
        Of the result. Default: the dtype of lhs and rhs; sums of integers wrap around.
    out_sharding : None
        There is one device.

    Returns
    -------
    array

    Raises
    ------
    ValueError, TypeError
        As ``jax.lax.conv_general_dilated``, but TypeError and ValueError name the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import lax
    >>> image, kernel = np.ones((1, 8, 8, 3), np.float32), np.ones((3, 3, 3, 16), np.float32)
    >>> lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
    (1, 4, 4, 16)
    """
    if _is_jax(lhs) or _is_jax(rhs):
        from . import _jax_primitive

        return _jax_primitive.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
            out_sharding,
        )
    lhs, rhs = np.asarray(lhs), np.asarray(rhs)
    specs = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    x, w = np.transpose(lhs, specs.lhs_spec), np.transpose(rhs, specs.rhs_spec)
    if out_sharding is not None:
        raise ValueError(f"out_sharding: got {out_sharding!r}; allowed: None, as there is one device")
    settings = (window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count, batch_group_count, precision)
    window, groups, batch_groups = arguments(x.shape, w.shape, *settings)
    y = convolve(x, w, window, groups, batch_groups, result_dtype(lhs.dtype, rhs.dtype, preferred_element_type))
    return np.transpose(y, np.argsort(specs.out_spec))


def conv(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """Convolution of (N, C, ...) with (O, I, ...), as ``conv_general_dilated``."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_with_general_padding(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """Convolution of (N, C, ...) with (O, I, ...) with padding and dilations, as ``conv_general_dilated``."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_transpose(
    lhs: Array,
    rhs: Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Array:
    """Convolution of an image between whose elements ``strides - 1`` zeros are put, as ``jax.lax.conv_transpose``.

    Parameters are as of ``conv_general_dilated``, but for these.

    Parameters
    ----------
    padding : "SAME", "VALID", or one (low, high) pair per spatial axis
        The words are those of the convolution that this one is the transpose of; pairs are padding of the spread image
        unless ``use_consistent_padding``, with which they belong to that convolution, too.
    dimension_numbers : optional
        Default: ("NHWC", "HWIO", "NHWC") of that many axes, up to 3 spatial ones.
    transpose_kernel : bool
        Flip the kernel and exchange its channel axes, which makes this the gradient of a convolution.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import lax
    >>> lax.conv_transpose(np.ones((1, 4, 4, 8)), np.ones((3, 3, 8, 2)), (2, 2), "SAME").shape
    (1, 8, 8, 2)
    """
    rank = np.ndim(lhs) - 2
    if dimension_numbers is None:
        if not 0 <= rank <= 3:
            raise ValueError(f"dimension_numbers: got None for {rank} spatial axes; needed from 4 axes on")
        spatial = ("", "H", "HW", "HWD")[rank]
        dimension_numbers = ("NC", "IO", "NC") if not rank else (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    specs = conv_dimension_numbers(np.shape(lhs), np.shape(rhs), dimension_numbers)
    dilation = (1,) * rank if rhs_dilation is None else tuple(rhs_dilation)
    kernel = [np.shape(rhs)[axis] for axis in specs.rhs_spec[2:]]
    if use_consistent_padding or padding in ("SAME", "VALID"):
        each = [padding] * rank if isinstance(padding, str) else padding
        reach = [dilated(k, d) for k, d in zip(kernel, dilation, strict=True)]
        padding = [transposed_pads(k, s, p) for k, s, p in zip(reach, strides, each, strict=True)]
    if transpose_kernel:
        flip = tuple(slice(None, None, -1 if axis in specs.rhs_spec[2:] else 1) for axis in range(rank + 2))
        rhs = rhs[flip].swapaxes(specs.rhs_spec[0], specs.rhs_spec[1])
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * rank,
        padding,
        strides,
        dilation,
        specs,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def install() -> None:
    """Have ``jax.lax``'s convolutions, called by anybody, computed by this module; JAX must be installed."""
    with wanted("lax"):
        from . import _jax_primitive

    _jax_primitive.install()


def _is_jax(array: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, getattr(jax, "Array", ()))
