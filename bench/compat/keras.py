"""Keras' NumPy backend, which has JAX convolve and pool: both must be installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.compat import keras as of_keras

from .case import Case


def cases() -> list[Case]:
    """Layers of networks, channels last, float32."""
    import jax  # noqa: F401

    of_keras.install()
    ours = dict(of_keras.REPLACED)
    own = dict(of_keras._own)
    rng = np.random.default_rng(0)

    def case(name: str, function: str, shape: tuple[int, ...], kernel: tuple[int, ...] | None, **how: Any) -> Case:
        x = rng.standard_normal(shape, np.float32)
        arrays = (x,) if kernel is None else (x, rng.standard_normal(kernel, np.float32))

        def call(functions: dict[str, Callable[..., Any]]) -> Callable[[], Any]:
            return lambda: functions[function](*arrays, **how)

        return Case(name, call(ours), call(own))

    same = {"padding": "same", "data_format": "channels_last"}
    return [
        case("conv 3x3, 64 channels, 56x56", "conv", (4, 56, 56, 64), (3, 3, 64, 64), **same),
        case("conv 1x1, 256 channels, 14x14", "conv", (4, 14, 14, 256), (1, 1, 256, 256), **same),
        case("conv 7x7 stride 2, 3 channels, 224x224", "conv", (1, 224, 224, 3), (7, 7, 3, 64), strides=2, **same),
        case("depthwise_conv 3x3, 96 channels, 56x56", "depthwise_conv", (4, 56, 56, 96), (3, 3, 96, 1), **same),
        case(
            "conv_transpose 3x3 stride 2, 64 channels",
            "conv_transpose",
            (4, 28, 28, 64),
            (3, 3, 64, 64),
            strides=2,
            **same,
        ),
        case("max_pool 2, 64 channels, 56x56", "max_pool", (4, 56, 56, 64), None, pool_size=2, strides=2, **same),
        case(
            "average_pool 3 stride 1, 64 channels",
            "average_pool",
            (4, 28, 28, 64),
            None,
            pool_size=3,
            strides=1,
            **same,
        ),
    ]
