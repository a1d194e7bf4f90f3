"""Depthwise convolutions of channels-last arrays."""

from .algorithm import DepthwiseNhwc

ALGORITHMS = (DepthwiseNhwc(),)
