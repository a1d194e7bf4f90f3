"""float32 as sums of bfloat16 pieces, multiplied by the instructions for those."""

from .algorithm import SplitBf16

ALGORITHMS = (SplitBf16(),)
