"""Groups of few channels."""

from .algorithm import SmallGroups

ALGORITHMS = (SmallGroups(),)
