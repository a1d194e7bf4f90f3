"""few_channels: dense layers of few channels or few filters on tensor cores: stems, last layers, small groups."""

from .algorithm import FewChannels

_FLOAT32 = frozenset({"float32"})
ALGORITHMS = (
    FewChannels("few_channels", "bf16", frozenset({"float16", "bfloat16"})),
    FewChannels("few_channels_3xtf32", "3xtf32", _FLOAT32),
    FewChannels("few_channels_tf32", "tf32", _FLOAT32),
)
