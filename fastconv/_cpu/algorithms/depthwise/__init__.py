"""Groups of one channel or few: depthwise convolutions, channels first and last, and small groups."""

from .nchw import DepthwiseNchw
from .nhwc import DepthwiseNhwc
from .small_groups import SmallGroups

ALGORITHMS = (DepthwiseNhwc(), SmallGroups(), DepthwiseNchw())
