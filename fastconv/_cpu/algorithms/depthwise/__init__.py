"""Groups of one channel or few: depthwise convolutions, channels last, and small groups."""

from .nhwc import DepthwiseNhwc
from .small_groups import SmallGroups

ALGORITHMS = (DepthwiseNhwc(), SmallGroups())
