"""depthwise_nchw: depthwise convolutions of images whose rows are neighbours in memory."""

from .algorithm import DepthwiseNchw

ALGORITHMS = (DepthwiseNchw(),)
