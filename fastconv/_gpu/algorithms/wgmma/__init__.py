"""wgmma: 16-bit floats on sm_90a, by tensor copies and the products of warpgroups."""

from .algorithm import Wgmma

ALGORITHMS = (Wgmma(),)
