"""Minimal filtering in strict float32: fewer multiplications than the definition has."""

from .algorithm import Winograd
from .nonfused import WinogradNonfused

ALGORITHMS = (Winograd(), WinogradNonfused())
