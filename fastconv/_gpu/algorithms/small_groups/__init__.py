"""small_groups: few channels and filters in a group, channels first."""

from .algorithm import SmallGroups

ALGORITHMS = (SmallGroups(),)
