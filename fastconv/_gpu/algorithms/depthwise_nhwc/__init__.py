"""depthwise_nhwc: depthwise convolutions of images whose channels are neighbours in memory."""

from .algorithm import DepthwiseNhwc

ALGORITHMS = (DepthwiseNhwc(),)
