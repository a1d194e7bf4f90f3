"""Shapes of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import pooling


def broadcast_shape(*values: Any) -> tuple[int, ...]:
    """Of an elementwise function."""
    try:
        return np.broadcast_shapes(*(value.shape for value in values))
    except ValueError:
        shapes = " and ".join(str(value.shape) for value in values)
        raise ValueError(f"got shapes {shapes}, which do not fit together") from None


def shape_of_result(function: str, x: Any, settings: dict[str, Any]) -> tuple[int, ...]:
    """Of a public function, asked for the smallest array that can tell: channels do not matter to pooling."""
    one = np.zeros((*x.shape[:1], 1, *x.shape[2:]), x.dtype)
    found = getattr(pooling, function)(one, **settings).shape
    return (found[0], x.shape[1], *found[2:])
