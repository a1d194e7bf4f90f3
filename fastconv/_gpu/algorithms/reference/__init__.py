"""The definition as plain kernels: what all else is compared with."""

from .algorithm import Reference

ALGORITHMS = (Reference(),)
