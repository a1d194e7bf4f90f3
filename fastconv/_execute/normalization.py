"""Runs a normalised normalization or activation."""

from __future__ import annotations

from typing import Any

from .._config import thread_count
from .._normalize.normalization import ActivationCall, NormalizationCall


def normalize(call: NormalizationCall, threads: Any) -> tuple[Any, Any, Any]:
    """The result, and the means and variances."""
    backend = call.backend
    with backend.active((call.x,)):
        result, mean, variance = backend.normalization.normalize(call, thread_count(threads))
    if call.out is not None:
        result = call.out
    return (result, mean, variance) if call.mean is None else (result, call.mean, call.variance)


def gradients(call: NormalizationCall, threads: Any) -> tuple[Any, Any, Any]:
    """The gradients for x, weight and bias; None where they are not needed."""
    backend = call.backend
    with backend.active((call.x,)):
        found = backend.normalization.gradient(call, thread_count(threads))
    dx, dweight, dbias = (each if needed else None for each, needed in zip(found, call.needs, strict=True))
    return (dx if call.out is None or dx is None else call.out), dweight, dbias


def activate(call: ActivationCall, threads: Any) -> Any:
    """The activation, or its gradient, of a whole array."""
    backend = call.backend
    compute = backend.normalization.activate if call.dy is None else backend.normalization.activate_gradient
    with backend.active((call.x,)):
        result = compute(call, thread_count(threads))
    return result if call.out is None else call.out
