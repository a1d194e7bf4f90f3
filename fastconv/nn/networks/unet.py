"""U-Net on images (Ronneberger et al., 2015) and on volumes (Cicek et al., 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..activation import ReLU
from ..containers import Sequential
from ..convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from ..module import Array, Composite, Module
from ..normalization import BatchNorm2d, BatchNorm3d
from ..parameter import array_module
from ..pooling import MaxPool2d, MaxPool3d
from .weights import draw_kaiming

if TYPE_CHECKING:
    from ..inference.graph import Graph, Value

LAYERS: dict[int, tuple[Any, Any, Any, Any]] = {
    2: (Conv2d, ConvTranspose2d, BatchNorm2d, MaxPool2d),
    3: (Conv3d, ConvTranspose3d, BatchNorm3d, MaxPool3d),
}
PADDINGS = {"same": 1, "valid": 0}


class Skip(Module):
    """The input, cropped at its middle, and behind it what a module makes of it, by channels."""

    def __init__(self, inner: Module) -> None:
        self.inner = inner

    def forward(self, x: Array) -> Array:
        y = self.inner(x)
        window = _middle(x.shape, y.shape)
        self.keep((x.shape, window))
        return array_module(x).concatenate((x[window], y), axis=1)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        shape, window = self.kept()
        channels = shape[1]
        dx = self.inner.backward(dy[:, channels:].copy(), wants_dx)
        if not wants_dx:
            return None
        assert dx is not None
        dx[window] += dy[:, :channels]
        return dx

    def lower(self, graph: Graph, x: Value) -> Value:
        y = graph.lower(self.inner, x)
        if x.shape[2:] != y.shape[2:]:
            x = graph.part(x, _middle(x.shape, y.shape))
        return graph.concatenate([x, y], 1)


def _middle(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[slice, ...]:
    """The window of the wanted size in the middle of every spatial axis."""
    pairs = zip(shape[2:], wanted[2:], strict=True)
    return (slice(None), slice(None), *(slice((have - want) // 2, (have + want) // 2) for have, want in pairs))


class UNet(Composite):
    """Levels of two convolutions, each with half the size of the one before, and back up beside what went down.

    Layers are called ``down0`` to the deepest level, ``grow`` and ``up`` with the number of their level, ``classes``.

    Parameters
    ----------
    dimensions : 2 or 3
    in_channels : int
    num_classes : int
    first : list of int
        Channels of the first convolution of each level on the way down.
    second : list of int
        Those of the second one, and of both on the way up.
    grown : list of int
        Those of the transposed convolutions up to each level.
    padding : "same" or "valid"
    batch_norm : bool
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        num_classes: int,
        first: list[int],
        second: list[int],
        grown: list[int],
        padding: str,
        batch_norm: bool,
    ) -> None:
        if padding not in PADDINGS:
            raise ValueError(f"padding: got {padding!r}; allowed: 'same', 'valid'")
        convolution, transposed, normalization, pooling = LAYERS[dimensions]
        self.padding, self.depth = padding, len(first) - 1

        def pair(inputs: int, middle: int, outputs: int) -> Sequential:
            named: dict[str, Module] = {}
            for number, (before, after) in enumerate(((inputs, middle), (middle, outputs)), 1):
                layer = convolution(before, after, 3, padding=PADDINGS[padding], bias=not batch_norm)
                named[f"conv{number}"] = layer
                if batch_norm:
                    named[f"norm{number}"] = normalization(after)
                named[f"relu{number}"] = ReLU()
            return Sequential(named)

        inputs = (in_channels, *second)
        downs = [pair(inputs[level], first[level], second[level]) for level in range(self.depth + 1)]
        grows = [transposed(second[level + 1], grown[level], 2, stride=2) for level in range(self.depth)]
        ups = [pair(second[level] + grown[level], second[level], second[level]) for level in range(self.depth)]
        for name, layers in (("down", downs), ("grow", grows), ("up", ups)):
            for level, layer in enumerate(layers):
                setattr(self, f"{name}{level}", layer)
        self.classes = convolution(second[0], num_classes, 1)
        route: Module = downs[-1]
        for level in reversed(range(self.depth)):
            route = Sequential(downs[level], Skip(Sequential(pooling(2), route, grows[level])), ups[level])
        self._route = Sequential(route, self.classes)
        draw_kaiming(self)

    def forward(self, x: Array) -> Array:
        self._check(x.shape)
        return super().forward(x)

    def lower(self, graph: Graph, x: Value) -> Value:
        self._check(x.shape)
        return super().lower(graph, x)

    def _check(self, shape: tuple[int, ...]) -> None:
        step = 2**self.depth
        if self.padding == "same" and any(size % step or not size for size in shape[2:]):
            raise ValueError(f"x: got shape {shape}; allowed: spatial sizes that are multiples of {step}")


def unet(
    num_classes: int = 2,
    in_channels: int = 1,
    width: int = 64,
    depth: int = 4,
    padding: str = "same",
    batch_norm: bool = False,
) -> UNet:
    """U-Net on images (N, C, H, W); 31.0 million parameters.

    Parameters
    ----------
    num_classes : int, default 2
        Channels of the result.
    in_channels : int, default 1
    width : int, default 64
        Channels of the first level; every level doubles them.
    depth : int, default 4
        How often the size is halved.
    padding : "same" or "valid", default "same"
        With "same" the result has the size of the input, a multiple of ``2**depth``. "valid" is the paper's: nothing
        is padded, the result is smaller (572 becomes 388), and no pixel of it depends on a border.
    batch_norm : bool, default False
        Whether batch normalization follows each 3x3 convolution; the paper has none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.networks.unet(width=4, depth=2).eval()(np.zeros((1, 1, 32, 48), np.float32)).shape
    (1, 2, 32, 48)
    """
    channels = [width << level for level in range(depth + 1)]
    return UNet(2, in_channels, num_classes, channels, channels, channels[:-1], padding, batch_norm)


def unet3d(
    num_classes: int = 3,
    in_channels: int = 3,
    width: int = 32,
    depth: int = 3,
    padding: str = "same",
    batch_norm: bool = True,
) -> UNet:
    """U-Net on volumes (N, C, D, H, W); 19.1 million parameters.

    Parameters
    ----------
    num_classes : int, default 3
        Channels of the result.
    in_channels : int, default 3
    width : int, default 32
        Channels of the first convolution; the second one and every level double them.
    depth : int, default 3
        How often the size is halved.
    padding : "same" or "valid", default "same"
        As for ``unet``; the paper's is "valid".
    batch_norm : bool, default True
        Whether batch normalization follows each 3x3x3 convolution, as in the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.networks.unet3d(width=2, depth=1).eval()(np.zeros((1, 3, 8, 8, 6), np.float32)).shape
    (1, 3, 8, 8, 6)
    """
    first = [width << level for level in range(depth + 1)]
    second = [2 * channels for channels in first]
    return UNet(3, in_channels, num_classes, first, second, second[1:], padding, batch_norm)
