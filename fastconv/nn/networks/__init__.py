"""Networks of the field, by functions that build them; names of parameters as torchvision's where it has the network.

``build(name, ...)`` finds one by its name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from ..module import Module
from .classic import alexnet, lenet5, vgg11, vgg16
from .convnext import convnext_tiny
from .efficientnet import efficientnet_b0
from .mobilenet import mobilenet_v2
from .resnet import resnet18, resnet50, resnext50_32x4d
from .textcnn import textcnn
from .unet import unet, unet3d
from .wavenet import wavenet

_BUILDERS: dict[str, Callable[..., Module]] = {
    builder.__name__: builder
    for builder in (
        *(lenet5, alexnet, vgg11, vgg16, resnet18, resnet50, resnext50_32x4d),
        *(mobilenet_v2, efficientnet_b0, convnext_tiny, unet, unet3d, textcnn, wavenet),
    )
}

NAMES = tuple(_BUILDERS)
"""All networks."""


def build(name: str, **arguments: Any) -> Module:
    """The network of a name.

    Parameters
    ----------
    name : str
        One of ``nn.networks.NAMES``.
    **arguments
        What its function takes, as ``num_classes`` and ``in_channels``.

    Raises
    ------
    ValueError
        If there is none of that name.
    TypeError
        If it has no such argument.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.networks.build("lenet5", num_classes=26).output.weight.shape
    (26, 84)
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(str(name), NAMES, 1)
        guess = f" (is {near[0]!r} meant?)" if near else ""
        raise ValueError(f"name: got {name!r}{guess}; allowed: {', '.join(NAMES)}")
    return _BUILDERS[name](**arguments)


__all__ = [*NAMES, "NAMES", "build"]
