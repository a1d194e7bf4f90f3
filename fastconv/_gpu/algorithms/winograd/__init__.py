"""Minimal filtering in strict float32: fewer multiplications than the definition has."""

from .algorithm import Winograd

ALGORITHMS = (Winograd(),)
