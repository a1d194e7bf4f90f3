"""``jax.lax.conv_general_dilated`` for arrays of JAX, computed by fastconv on the host.

Under ``jit`` and the like JAX calls back; outside of them the arrays are taken as they lie. Three functions, the
convolution and its two gradients, are closed under reverse-mode differentiation. What fastconv has no gradient for, the
dilation of the image and groups of the batch, is differentiated by JAX's own operator.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import grad
from ._general import NATIVE, Window, convolve

Array = Any

_own = lax.conv_general_dilated
"""JAX's, whatever ``install`` has put in its place."""


class Call(NamedTuple):
    """What a convolution is called with beside its arrays; hashable."""

    window: Window
    specs: Any
    groups: int
    batch_groups: int
    precision: Any
    preferred: Any

    def by_jax(self, lhs: Array, rhs: Array) -> Array:
        strides, pads, spread, dilation = self.window
        return _own(
            lhs,
            rhs,
            strides,
            pads,
            spread,
            dilation,
            self.specs,
            self.groups,
            self.batch_groups,
            self.precision,
            self.preferred,
        )


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Array:
    """``jax.lax.conv_general_dilated`` with fastconv's results; its errors are JAX's."""
    if hasattr(dimension_numbers, "lhs_spec"):
        dimension_numbers = lax.ConvDimensionNumbers(*map(tuple, dimension_numbers))
    rest = (feature_group_count, batch_group_count, precision, preferred_element_type, out_sharding)
    own = partial(_own, lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, *rest)
    if out_sharding is not None:
        return own()
    jax.eval_shape(own)  # raises what JAX raises
    specs = lax.conv_dimension_numbers(np.shape(lhs), np.shape(rhs), dimension_numbers)
    ones = (1,) * len(window_strides)
    spread, dilation = (ones if given is None else _ints(given) for given in (lhs_dilation, rhs_dilation))
    if isinstance(padding, str):
        sizes = [np.shape(lhs)[axis] for axis in specs.lhs_spec[2:]]
        reach = [(np.shape(rhs)[axis] - 1) * d + 1 for axis, d in zip(specs.rhs_spec[2:], dilation, strict=True)]
        padding = lax.padtype_to_pads(sizes, reach, window_strides, padding)
    window = Window(_ints(window_strides), tuple((int(low), int(high)) for low, high in padding), spread, dilation)
    preferred = None if preferred_element_type is None else jnp.dtype(preferred_element_type)
    call = Call(window, specs, int(feature_group_count), int(batch_group_count), precision, preferred)
    return _convolved(jnp.asarray(lhs), jnp.asarray(rhs), call)


def install() -> None:
    """Put the functions of ``lax`` in the place of JAX's, for callers inside of JAX as well."""
    from . import lax as compat

    own = sys.modules["jax._src.lax.convolution"]
    for name in ("conv_general_dilated", "conv", "conv_with_general_padding"):
        setattr(lax, name, partial(_for_jax, getattr(compat, name)))
        setattr(own, name, getattr(lax, name))


def _for_jax(function: Callable[..., Array], lhs: Array, rhs: Array, *rest: Any, **more: Any) -> Array:
    """NumPy's arrays are JAX's here."""
    return function(jnp.asarray(lhs), jnp.asarray(rhs), *rest, **more)


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


# The convolution and its gradients; JAX takes the next argument as no array.


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolved(lhs: Array, rhs: Array, call: Call) -> Array:
    out = _result(call, lhs.shape, rhs.shape, lhs.dtype)
    return _on_host(_forward(call, np.dtype(out.dtype)), out, lhs, rhs)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _to_input(rhs: Array, g: Array, call: Call, shape: tuple[int, ...]) -> Array:
    return _on_host(_gradient(call, shape, "input"), jax.ShapeDtypeStruct(shape, g.dtype), rhs, g)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _to_weight(lhs: Array, g: Array, call: Call, shape: tuple[int, ...]) -> Array:
    return _on_host(_gradient(call, shape, "weight"), jax.ShapeDtypeStruct(shape, g.dtype), lhs, g)


def _backward(call: Call, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    lhs, rhs = saved
    plain = max(call.window.input_dilation, default=2) == 1 and call.batch_groups == 1 and len(call.window.strides) <= 3
    if plain and g.dtype == lhs.dtype and g.dtype.name in NATIVE and 0 not in (g.size, lhs.size, rhs.size):
        return _to_input(rhs, g, call, lhs.shape), _to_weight(lhs, g, call, rhs.shape)
    return jax.vjp(call.by_jax, lhs, rhs)[1](g)


_convolved.defvjp(lambda lhs, rhs, call: (_convolved(lhs, rhs, call), (lhs, rhs)), _backward)
_to_input.defvjp(
    lambda rhs, g, call, shape: (_to_input(rhs, g, call, shape), (rhs, g)),
    lambda call, shape, saved, d: (_to_weight(d, saved[1], call, saved[0].shape), _convolved(d, saved[0], call)),
)
_to_weight.defvjp(
    lambda lhs, g, call, shape: (_to_weight(lhs, g, call, shape), (lhs, g)),
    lambda call, shape, saved, d: (_to_input(d, saved[1], call, saved[0].shape), _convolved(saved[0], d, call)),
)


@functools.lru_cache(maxsize=4096)
def _result(call: Call, lhs: tuple[int, ...], rhs: tuple[int, ...], dtype: Any) -> Any:
    return jax.eval_shape(call.by_jax, jax.ShapeDtypeStruct(lhs, dtype), jax.ShapeDtypeStruct(rhs, dtype))


def _on_host(function: Callable[..., np.ndarray], out: Any, *arrays: Array) -> Array:
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return jax.pure_callback(function, out, *arrays, vmap_method="sequential")
    return jnp.asarray(function(*arrays))


# One callable for each problem: JAX compiles a callback once for each.


@functools.lru_cache(maxsize=4096)
def _forward(call: Call, dtype: np.dtype) -> Callable[..., np.ndarray]:
    lhs_spec, rhs_spec, out_spec = call.specs
    back = np.argsort(out_spec)

    def convolved(lhs: Array, rhs: Array) -> np.ndarray:
        x, w = np.transpose(np.asarray(lhs), lhs_spec), np.transpose(np.asarray(rhs), rhs_spec)
        return np.transpose(convolve(x, w, call.window, call.groups, call.batch_groups, dtype), back)

    return convolved


@functools.lru_cache(maxsize=4096)
def _gradient(call: Call, shape: tuple[int, ...], of: str) -> Callable[..., np.ndarray]:
    lhs_spec, rhs_spec, out_spec = call.specs
    given, wanted = (rhs_spec, lhs_spec) if of == "input" else (lhs_spec, rhs_spec)
    back = np.argsort(wanted)
    sizes = tuple(shape[axis] for axis in wanted)
    function = getattr(grad, f"conv{len(shape) - 2}d_{of}")
    strides, pads, _, dilation = call.window

    def gradient(other: Array, g: Array) -> np.ndarray:
        # fastconv's gradients have conjugates of complex numbers, JAX's have none.
        other = np.conj(np.transpose(np.asarray(other), given))
        g = np.transpose(np.asarray(g), out_spec)
        arrays = (sizes, other, g) if of == "input" else (other, sizes, g)
        return np.transpose(function(*arrays, strides, pads, dilation, call.groups, precision="highest"), back)

    return gradient
