"""The definition as plain loops: what all else is compared with."""

from .algorithm import Reference

ALGORITHMS = (Reference(),)
