"""Suites: the convolution layers of well-known networks, for the tuner, the benchmarks and the command line.

Each is the complete list of its network's convolutions at the input size the network is published for, batch 1, every
distinct layer once with the number of times it occurs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from . import classification, segmentation, signals
from .layers import Network, Suite

_WRITERS: dict[str, Callable[[Network], None]] = {
    "lenet": classification.lenet,
    "alexnet": classification.alexnet,
    "vgg16": classification.vgg16,
    "resnet18": classification.resnet18,
    "resnet50": classification.resnet50,
    "resnext50": classification.resnext50,
    "mobilenet_v2": classification.mobilenet_v2,
    "efficientnet_b0": classification.efficientnet_b0,
    "convnext_tiny": classification.convnext_tiny,
    "unet": segmentation.unet,
    "unet3d": segmentation.unet3d,
    "textcnn": signals.textcnn,
    "wavenet": signals.wavenet,
    "image_filters": signals.image_filters,
}

NAMES = tuple(_WRITERS)


@functools.cache
def suite(name: str) -> Suite:
    """The suite called ``name``; KeyError where there is none."""
    writer = _WRITERS[name]
    network = Network()
    writer(network)
    return Suite(name, (writer.__doc__ or "").strip(), network.layers())
