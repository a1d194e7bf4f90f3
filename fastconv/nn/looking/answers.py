"""What layers make of an image, and what the answers of a network depend on."""

from __future__ import annotations

from typing import Any

from ..evaluation import evaluating
from ..module import Array, Module
from ..parameter import array_module
from ..upsample import Upsample
from .watching import asked, watched

LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
"""How ``Upsample`` interpolates an input of so many axes."""


def feature_maps(model: Module, x: Array, layer: str) -> Array:
    """What a layer returns when the network is given something.

    Parameters
    ----------
    model : Module
    x : array
        A batch.
    layer : str
        The layer's name, as in ``model.named_modules()``. Of one that is used several times, the last result.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> nn.looking.feature_maps(model, np.zeros((2, 1, 8, 8), np.float32), "1").shape
    (2, 4, 6, 6)
    """
    with evaluating(model), watched(model, layer) as seen:
        model(x)
    return seen["output"]


def saliency(model: Module, x: Array, target: Any = None) -> Array:
    """How much a class's logit changes with each pixel: the largest gradient of its channels (Simonyan et al., 2013).

    Parameters
    ----------
    model : Module
    x : array
        Images, (N, C, ...).
    target : int or array of int, optional
        A class for all, or one for each image; default: those that the network answers.

    Returns
    -------
    array
        (N, ...), 0 or more.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> nn.looking.saliency(model, np.ones((1, 3, 2, 2), np.float32)).shape
    (1, 2, 2)
    """
    return abs(logit_gradient(model, x, target)).max(axis=1)


def logit_gradient(model: Module, x: Array, target: Any = None) -> Array:
    """The gradient of a class's logit with respect to the input.

    Parameters
    ----------
    model : Module
    x : array
        Images, (N, C, ...).
    target : int or array of int, optional
        A class for all, or one for each image; default: those that the network answers. Where every pixel has logits,
        it is their sum over all pixels.
    """
    with asked(model):
        y = model(x)
        return model.backward(_one_hot(y, target))


def grad_cam(model: Module, x: Array, layer: str, target: Any = None) -> Array:
    """Where a layer has seen what speaks for a class: Grad-CAM (Selvaraju et al., 2016).

    Parameters
    ----------
    model : Module
    x : array
        Images, (N, C, ...).
    layer : str
        The name of a layer that returns feature maps, say the last one before they are pooled.
    target : int or array of int, optional
        A class for all, or one for each image; default: those that the network answers.

    Returns
    -------
    array
        (N, ...) of the size of the images, 0 or more: the layer's maps weighted by the mean gradients of the class's
        logit, interpolated linearly.
    """
    with asked(model), watched(model, layer) as seen:
        y = model(x)
        if seen["output"].ndim != x.ndim:
            raise ValueError(f"layer: {layer!r} returns shape {seen['output'].shape}; feature maps are wanted")
        model.backward(_one_hot(y, target))
    maps, gradient = seen["output"], seen["gradient"]
    weights = gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)
    heat = (weights * maps).sum(axis=1, keepdims=True).clip(0)
    mode = LINEAR.get(x.ndim)
    if mode is None:
        raise ValueError(f"x: shape {x.shape}; (N, C, ...) of one to three axes more is wanted")
    return Upsample(size=x.shape[2:], mode=mode).eval()(heat)[:, 0]


def _one_hot(y: Array, target: Any) -> Array:
    """The gradient of the targets' logits, summed where every pixel has its own, with respect to all logits."""
    xp = array_module(y)
    if y.ndim < 2:
        raise ValueError(f"model: it returns shape {y.shape}; logits, (N, classes, ...), are wanted")
    classes = y.shape[1]
    if target is None:
        target = y.reshape(*y.shape[:2], -1).sum(axis=2).argmax(axis=1)
    target = xp.asarray(target)
    if target.ndim == 0:
        target = xp.broadcast_to(target, (len(y),))
    if target.dtype.kind not in "iu" or target.shape != (len(y),):
        raise ValueError(
            f"target: {target.dtype} of shape {target.shape}; an integer, or integers of shape {(len(y),)}, is wanted"
        )
    if len(y) and not (0 <= int(target.min()) and int(target.max()) < classes):
        raise ValueError(f"target: {int(target.min())} to {int(target.max())}; classes are 0 to {classes - 1}")
    dy = xp.zeros_like(y)
    dy[xp.arange(len(y)), target] = 1
    return dy
