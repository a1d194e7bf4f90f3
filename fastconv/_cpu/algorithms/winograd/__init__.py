"""Minimal filtering: small kernels by fewer multiplications."""

from .algorithm import Winograd

ALGORITHMS = (Winograd(),)
