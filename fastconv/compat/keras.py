"""Keras' NumPy backend, convolving and pooling by fastconv; JAX, which it asks for, need not be installed.

``install()`` before the first ``import keras``, or after it where JAX is installed. Gradients are none of Keras' NumPy
backend's; fitting therefore is not, predicting and evaluating are.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from scipy import fft

from .. import pooling
from ..functional import convolution, unfolding
from . import lax
from ._wanted import wanted

__all__ = ["install", "installed", "uninstall"]

Array = np.ndarray

BACKEND = "keras.src.backend.jax"
"""Its NumPy backend takes Fourier transforms from there."""

FLOATS = frozenset(("float16", "bfloat16", "float32", "float64", "complex64", "complex128"))
W_LAYOUTS = {1: "WIO", 2: "HWIO", 3: "DHWIO"}

_own: dict[str, Callable[..., Any]] = {}
"""Keras' functions that are replaced; empty when none are."""


def install() -> None:
    """Have Keras' NumPy backend convolve and pool by fastconv, until ``uninstall()``.

    Where Keras has not been imported yet, it is, with the NumPy backend unless ``KERAS_BACKEND`` names another one.

    Raises
    ------
    ImportError
        Without Keras: ``pip install "fastconv[keras]"``.
    RuntimeError
        If Keras runs on another backend.

    Examples
    --------
    >>> from fastconv.compat import keras as of_keras  # doctest: +SKIP
    >>> of_keras.install()  # doctest: +SKIP
    >>> import keras  # doctest: +SKIP
    >>> layer = keras.layers.Conv2D(8, 3)  # doctest: +SKIP
    """
    nn = _backend()
    if not _own:
        _own.update({name: getattr(nn, name) for name in REPLACED if hasattr(nn, name)})
        for name in _own:
            setattr(nn, name, REPLACED[name])


def uninstall() -> None:
    """Give Keras its own functions back; without JAX its pooling then fails."""
    if _own:
        nn = _backend()
        for name, function in _own.items():
            setattr(nn, name, function)
        _own.clear()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """A block in which Keras' NumPy backend convolves and pools by fastconv."""
    before = bool(_own)
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()


def _backend() -> ModuleType:
    """The module of Keras that has its NumPy backend's convolutions."""
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    with wanted("keras"), _stand_in_for_jax():
        keras = importlib.import_module("keras")
    if keras.config.backend() != "numpy":
        raise RuntimeError(
            f"Keras runs on {keras.config.backend()!r}; allowed: 'numpy', by the environment's KERAS_BACKEND=numpy "
            "before Keras is imported"
        )
    return importlib.import_module("keras.src.backend.numpy.nn")


@contextlib.contextmanager
def _stand_in_for_jax() -> Iterator[None]:
    """While Keras is imported: what its NumPy backend imports of JAX, where that is not installed."""
    if "keras" in sys.modules or importlib.util.find_spec("jax"):
        yield
        return
    modules: dict[str, Any] = {name: _Jax(name) for name in ("jax", "jax.lax", BACKEND, f"{BACKEND}.math")}
    modules["jax"].lax = modules["jax.lax"]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


class _Jax(ModuleType):
    """What Keras' NumPy backend finds in JAX's place: convolutions and Fourier transforms, and no more."""

    def __getattr__(self, name: str) -> Any:
        if self.__name__ == "jax.lax" and name in lax.__all__:
            return getattr(lax, name)
        if self.__name__ == f"{BACKEND}.math" and name in ("fft", "fft2"):
            return functools.partial(_transformed, getattr(fft, name))
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"Keras asks for {self.__name__}.{name}, and JAX is not installed")


def _transformed(transform: Callable[[Array], Array], x: Any) -> tuple[Array, Array]:
    """Real and imaginary parts, of real and imaginary parts, in their dtype."""
    of_numpy = importlib.import_module("keras.src.backend.numpy.math")
    y = transform(of_numpy._get_complex_tensor_from_tuple(x))
    return y.real, y.imag


def conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Array:
    """``keras.ops.conv``."""
    how = (strides, padding, data_format, dilation_rate)
    return _convolved("conv", (inputs, kernel), how, lambda w, channels: (w, channels // w.shape[-2]))


def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Array:
    """``keras.ops.depthwise_conv``."""
    how = (strides, padding, data_format, dilation_rate)
    return _convolved("depthwise_conv", (inputs, kernel), how, lambda w, channels: (_depthwise(w), channels))


def _convolved(
    name: str, arrays: tuple[Any, Any], how: tuple[Any, ...], arranged: Callable[[Array, int], tuple[Array, int]]
) -> Array:
    """What fastconv does not compute, and what is wrong, is left to Keras' own function.

    Parameters
    ----------
    arranged : callable
        Makes of the kernel and the number of channels the weights and the number of groups.
    """
    strides, padding, data_format, dilation = how
    layout = _standard(data_format)
    x, kernel = _alike(*arrays)
    channels = x.shape[-1 if layout == "channels_last" else 1]
    n = x.ndim - 2
    if x.dtype.name in FLOATS and n in W_LAYOUTS and kernel.ndim == x.ndim and _divides(name, kernel, channels):
        w, groups = arranged(kernel, channels)
        settings = {"layout": layout, "w_layout": W_LAYOUTS[n]}
        with contextlib.suppress(ValueError):
            return CONV[n](x, w, None, strides, _padding(padding), dilation, groups, **settings)
    y: Array = _own[name](*arrays, *how)
    return y


def _divides(name: str, kernel: Array, channels: int) -> bool:
    of_kernel = kernel.shape[-2]
    return of_kernel == channels if name == "depthwise_conv" else of_kernel > 0 and channels % of_kernel == 0


def _depthwise(kernel: Array) -> Array:
    """(..., channels, multiplier) as (..., 1, filters)."""
    return kernel.reshape(*kernel.shape[:-2], 1, kernel.shape[-2] * kernel.shape[-1])


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Array:
    """``keras.ops.separable_conv``."""
    between = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(between, pointwise_kernel, 1, "valid", data_format, dilation_rate)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Array:
    """``keras.ops.conv_transpose``."""
    from keras.src.backend.common import backend_utils

    layout = _standard(data_format)
    x, w = _alike(inputs, kernel)
    n = x.ndim - 2
    if x.dtype.name in FLOATS and n in W_LAYOUTS and w.ndim == x.ndim:
        backend_utils.check_conv_transpose_input_channels(x, w, layout)
        # Zeros around the dilated image, as Keras counts for JAX; fastconv counts how much of the result is cut.
        around = backend_utils.compute_conv_transpose_padding_args_for_jax(
            x.shape, w.shape, strides, padding, output_padding, dilation_rate
        )
        dilations = (dilation_rate,) * n if isinstance(dilation_rate, int) else dilation_rate
        reaches = [step * (size - 1) for step, size in zip(dilations, w.shape[:-2], strict=True)]
        cut = [(reach - low, reach - high) for reach, (low, high) in zip(reaches, around, strict=True)]
        settings = {"dilation": dilation_rate, "layout": layout, "w_layout": W_LAYOUTS[n]}
        with contextlib.suppress(ValueError):
            return CONV_TRANSPOSE[n](x, w, None, strides, cut, **settings)
    y: Array = _own["conv_transpose"](inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)
    return y


def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
) -> Array:
    """``keras.ops.max_pool``."""
    return _pooled("max_pool", inputs, data_format, pool_size, strides, _pool_padding(padding))


def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None
) -> Array:
    """``keras.ops.average_pool``."""
    how = (pool_size, strides, _pool_padding(padding))
    return _pooled("avg_pool", inputs, data_format, *how, count_include_pad=False)


def adaptive_average_pool(inputs: Any, output_size: Any, data_format: Any = None) -> Array:
    """``keras.ops.adaptive_average_pool``."""
    return _pooled("adaptive_avg_pool", inputs, data_format, output_size)


def adaptive_max_pool(inputs: Any, output_size: Any, data_format: Any = None) -> Array:
    """``keras.ops.adaptive_max_pool``."""
    return _pooled("adaptive_max_pool", inputs, data_format, output_size)


def _pooled(name: str, inputs: Any, data_format: Any, *how: Any, **settings: Any) -> Array:
    layout = _standard(data_format)
    x = np.asarray(inputs)
    function = getattr(pooling, f"{name}{x.ndim - 2}d", None)
    if function is None:
        raise ValueError(f"inputs: got shape {x.shape}; allowed: 3 to 5 axes, a batch and channels among them")
    y: Array = function(x, *how, layout=layout, **settings)
    return y


def _pool_padding(padding: str) -> str:
    if padding not in ("same", "valid"):
        raise ValueError(f"Invalid padding '{padding}', must be 'same' or 'valid'.")
    return padding


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """``keras.ops.unfold``."""
    how = (kernel_size, dilation, padding, stride)
    if np.asarray(input).dtype.name in FLOATS:
        return unfolding.unfold(input, *how)
    y: Array = _own["unfold"](input, *how)
    return y


def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """``keras.ops.fold``."""
    how = (output_size, kernel_size, dilation, padding, stride)
    if np.asarray(x).dtype.name in FLOATS:
        return unfolding.fold(x, *how)
    y: Array = _own["fold"](x, *how)
    return y


def _standard(data_format: Any) -> Any:
    from keras.src import backend

    return backend.standardize_data_format(data_format)


def _alike(x: Any, w: Any) -> tuple[Array, Array]:
    """Both as arrays of one dtype, that which Keras makes of the two."""
    from keras.src import backend

    x, w = backend.convert_to_tensor(x), backend.convert_to_tensor(w)
    if x.dtype != w.dtype:
        dtype = backend.result_type(x.dtype, w.dtype)
        x, w = x.astype(dtype), w.astype(dtype)
    return x, w


def _padding(padding: Any) -> Any:
    return padding.lower() if isinstance(padding, str) else [tuple(pair) for pair in padding]


CONV: dict[int, Callable[..., Array]] = {1: convolution.conv1d, 2: convolution.conv2d, 3: convolution.conv3d}
CONV_TRANSPOSE: dict[int, Callable[..., Array]] = {
    1: convolution.conv_transpose1d,
    2: convolution.conv_transpose2d,
    3: convolution.conv_transpose3d,
}
REPLACED: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (
        conv,
        depthwise_conv,
        separable_conv,
        conv_transpose,
        max_pool,
        average_pool,
        adaptive_average_pool,
        adaptive_max_pool,
        unfold,
        fold,
    )
}
