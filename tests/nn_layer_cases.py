"""Layers, the arguments they are tested with, and shapes of what they take: odd sizes, one image, one pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class LayerCase(NamedTuple):
    """A layer by its name in ``fastconv.nn``, and in ``torch.nn`` if that is the same."""

    name: str
    arguments: tuple[Any, ...]
    settings: dict[str, Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        settings = "-".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name}{self.arguments}{settings}-{'x'.join(map(str, self.shape))}".replace(" ", "")


def case(name: str, *arguments: Any, shape: tuple[int, ...], **settings: Any) -> LayerCase:
    """A line of the table."""
    return LayerCase(name, arguments, settings, shape)


CASES = [
    case("Conv1d", 3, 4, 3, shape=(2, 3, 11)),
    case("Conv1d", 4, 6, 5, shape=(1, 4, 9), stride=2, padding=2, groups=2, bias=False),
    case("Conv2d", 3, 5, 3, shape=(2, 3, 7, 9), padding=1),
    case("Conv2d", 4, 8, (3, 1), shape=(1, 4, 8, 5), stride=(2, 1), dilation=(1, 2), groups=4),
    case("Conv2d", 3, 4, 3, shape=(2, 3, 6, 7), padding=1, padding_mode="reflect"),
    case("Conv2d", 3, 4, 3, shape=(2, 3, 6, 7), padding=(2, 1), padding_mode="circular", bias=False),
    case("Conv2d", 3, 4, 3, shape=(2, 3, 6, 7), padding="same", dilation=2),
    case("Conv2d", 6, 10, 1, shape=(3, 6, 5, 5)),
    case("Conv3d", 2, 3, 3, shape=(2, 2, 4, 5, 6), padding=1, stride=(1, 2, 1)),
    case("ConvTranspose1d", 3, 4, 4, shape=(2, 3, 7), stride=2, padding=1),
    case("ConvTranspose2d", 4, 6, 3, shape=(2, 4, 5, 4), stride=2, padding=1, output_padding=1, groups=2),
    case("ConvTranspose2d", 4, 3, 2, shape=(1, 4, 5, 4), stride=2, bias=False, dilation=2),
    case("ConvTranspose3d", 2, 3, 2, shape=(1, 2, 3, 4, 3), stride=2),
    case("MaxPool1d", 2, shape=(2, 3, 9)),
    case("MaxPool2d", 3, shape=(2, 3, 9, 7), stride=2, padding=1),
    case("MaxPool2d", 3, shape=(2, 3, 8, 7), stride=2, ceil_mode=True),
    case("MaxPool3d", 2, shape=(1, 2, 4, 5, 6)),
    case("AvgPool1d", 3, shape=(2, 3, 9), stride=2, padding=1, count_include_pad=False),
    case("AvgPool2d", (2, 3), shape=(2, 3, 8, 9)),
    case("AvgPool2d", 3, shape=(2, 3, 8, 9), stride=2, padding=1, ceil_mode=True),
    case("AvgPool3d", 2, shape=(1, 2, 4, 5, 6)),
    case("AdaptiveAvgPool1d", 4, shape=(2, 3, 11)),
    case("AdaptiveAvgPool2d", (3, 5), shape=(2, 3, 7, 9)),
    case("AdaptiveAvgPool2d", 1, shape=(2, 3, 7, 9)),
    case("AdaptiveAvgPool3d", 2, shape=(1, 2, 3, 5, 4)),
    case("AdaptiveMaxPool1d", 4, shape=(2, 3, 11)),
    case("AdaptiveMaxPool2d", (3, 5), shape=(2, 3, 7, 9)),
    case("AdaptiveMaxPool3d", 2, shape=(1, 2, 3, 5, 4)),
    case("BatchNorm1d", 5, shape=(7, 5)),
    case("BatchNorm1d", 5, shape=(3, 5, 6), momentum=None),
    case("BatchNorm2d", 3, shape=(4, 3, 5, 7)),
    case("BatchNorm2d", 3, shape=(4, 3, 5, 7), affine=False, eps=1e-3, momentum=0.3),
    case("BatchNorm2d", 3, shape=(4, 3, 5, 7), track_running_stats=False),
    case("BatchNorm3d", 2, shape=(2, 2, 3, 4, 5)),
    case("GroupNorm", 2, 6, shape=(3, 6, 5, 4)),
    case("GroupNorm", 6, 6, shape=(3, 6, 5, 4), affine=False),
    case("LayerNorm", 7, shape=(3, 5, 7)),
    case("LayerNorm", (5, 7), shape=(3, 5, 7), bias=False),
    case("Linear", 6, 4, shape=(3, 6)),
    case("Linear", 6, 4, shape=(2, 3, 6), bias=False),
    case("Flatten", shape=(3, 4, 2, 5)),
    case("Flatten", 1, 2, shape=(3, 4, 2, 5)),
    case("Upsample", shape=(2, 3, 4, 5), scale_factor=2),
    case("Upsample", shape=(2, 3, 4, 5), size=(7, 3)),
    case("Upsample", shape=(2, 3, 5), scale_factor=1.7),
    case("Upsample", shape=(2, 3, 5), scale_factor=2.5, mode="linear"),
    case("Upsample", shape=(2, 3, 4, 5), scale_factor=2, mode="bilinear"),
    case("Upsample", shape=(2, 3, 4, 5), scale_factor=(2.3, 1.4), mode="bilinear"),
    case("Upsample", shape=(2, 3, 4, 5), size=(9, 2), mode="bilinear", align_corners=True),
    case("Upsample", shape=(1, 2, 3, 4, 5), scale_factor=2, mode="trilinear"),
    case("Upsample", shape=(1, 2, 3, 4, 5), size=(1, 4, 9), mode="trilinear", align_corners=True),
    case("Dropout", 0.0, shape=(3, 4)),
    case("ReLU", shape=(3, 4, 5)),
    case("ReLU6", shape=(3, 4, 5)),
    case("LeakyReLU", 0.2, shape=(3, 4, 5)),
    case("SiLU", shape=(3, 4, 5)),
    case("GELU", shape=(3, 4, 5)),
    case("GELU", shape=(3, 4, 5), approximate="tanh"),
    case("Sigmoid", shape=(3, 4, 5)),
    case("Tanh", shape=(3, 4, 5)),
    case("Hardsigmoid", shape=(3, 4, 5)),
    case("Hardswish", shape=(3, 4, 5)),
    case("Softmax", shape=(3, 4, 5), dim=1),
    case("Softmax", shape=(3, 4), dim=-1),
    case("Identity", shape=(3, 4)),
]
"""Layers that ``torch.nn`` has, too."""

OWN = [
    case("CausalConv1d", 3, 4, 3, shape=(2, 3, 11), dilation=2),
    case("SeparableConv1d", 3, 4, 3, shape=(2, 3, 11), stride=2, padding=1),
    case("SeparableConv2d", 3, 4, 3, shape=(2, 3, 5, 6)),
    case("SeparableConv3d", 2, 3, 2, shape=(1, 2, 3, 4, 3), bias=False),
    case("LayerNorm2d", 5, shape=(2, 5, 4, 3)),
    case("GlobalAvgPool", shape=(2, 3, 4, 5)),
    case("GlobalMaxPool", True, shape=(2, 3, 4, 5)),
    case("Permute", (0, 2, 1), shape=(2, 3, 4)),
    case("SqueezeExcite", 6, 2, shape=(2, 6, 4, 5)),
    case("StochasticDepth", 0.0, shape=(3, 4, 2)),
]
"""Layers that it has not."""


def made(nn: Any, one: LayerCase, **more: Any) -> Any:
    """The layer of a module, ``fastconv.nn`` or ``torch.nn``."""
    return getattr(nn, one.name)(*one.arguments, **one.settings, **more)


def data(one: LayerCase, seed: int = 0) -> np.ndarray:
    """Numbers on which no layer has a kink: all differ, none is near 0, 6, 3 or -3."""
    random = np.random.default_rng([*one.shape, seed])
    count = int(np.prod(one.shape))
    values = (np.arange(count) - count // 2 + 0.37) * (9 / count)
    return random.permutation(values).reshape(one.shape)
