"""WaveNet (van den Oord et al., 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...functional.activation import activate, activate_backward
from ..activation import ReLU
from ..containers import Sequential
from ..convolution import CausalConv1d, Conv1d
from ..module import Array, Module
from ..parameter import array_module

if TYPE_CHECKING:
    from ..inference.graph import Graph, Value


class Gate(Module):
    """``tanh`` of the first half of the channels times the sigmoid of the second."""

    def forward(self, x: Array) -> Array:
        half = x.shape[1] // 2
        signal, gate = activate(x[:, :half], "tanh"), activate(x[:, half:], "sigmoid")
        self.keep((x, signal, gate))
        return signal * gate

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, signal, gate = self.kept()
        half = x.shape[1] // 2
        of_signal = activate_backward(dy * gate, x[:, :half], "tanh")
        of_gate = activate_backward(dy * signal, x[:, half:], "sigmoid")
        return array_module(dy).concatenate((of_signal, of_gate), axis=1)

    def lower(self, graph: Graph, x: Value) -> Value:
        every, half = slice(None), x.shape[1] // 2
        signal = graph.activation(graph.part(x, (every, slice(half), every)), "tanh")
        gate = graph.activation(graph.part(x, (every, slice(half, None), every)), "sigmoid")
        return graph.multiply(signal, gate)


class WaveNetLayer(Module):
    """A dilated convolution and its gate, what goes from there to the end, and to the next layer where there is one."""

    def __init__(self, residual: int, skip: int, kernel: int, dilation: int, is_last: bool) -> None:
        self.gated = CausalConv1d(residual, 2 * residual, kernel, dilation=dilation)
        self.gate = Gate()
        self.skip = Conv1d(residual, skip, 1)
        self.residual = None if is_last else Conv1d(residual, residual, 1)


class WaveNet(Module):
    """See ``wavenet``."""

    def __init__(
        self, num_classes: int, in_channels: int, residual: int, skip: int, blocks: int, depth: int, kernel: int
    ) -> None:
        self.embed = CausalConv1d(in_channels, residual, kernel)
        dilations = [kernel**power for _ in range(blocks) for power in range(depth)]
        last = len(dilations) - 1
        self._layers = [
            WaveNetLayer(residual, skip, kernel, dilation, number == last) for number, dilation in enumerate(dilations)
        ]
        for number, layer in enumerate(self._layers):
            setattr(self, f"block{number // depth}_layer{number % depth}", layer)
        self.post = Sequential(ReLU(), Conv1d(skip, skip, 1), ReLU(), Conv1d(skip, num_classes, 1))

    def forward(self, x: Array) -> Array:
        x, total = self.embed(x), None
        for layer in self._layers:
            y = layer.gate(layer.gated(x))
            skipped = layer.skip(y)
            total = skipped if total is None else total + skipped
            if layer.residual is not None:
                x = x + layer.residual(y)
        return self.post(total)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        dtotal: Any = self.post.backward(dy)
        dx: Any = None
        for layer in reversed(self._layers):
            # Layers may overwrite what they are given.
            gradient: Any = layer.skip.backward(dtotal.copy())
            if layer.residual is not None:
                gradient += layer.residual.backward(dx.copy())
            inner: Any = layer.gated.backward(layer.gate.backward(gradient))
            dx = inner if dx is None else dx + inner
        return self.embed.backward(dx, wants_dx)

    def lower(self, graph: Graph, x: Value) -> Value:
        x, total = graph.lower(self.embed, x), None
        for layer in self._layers:
            y = graph.lower(layer.gate, graph.lower(layer.gated, x))
            skipped = graph.lower(layer.skip, y)
            total = skipped if total is None else graph.add(total, skipped)
            if layer.residual is not None:
                x = graph.add(x, graph.lower(layer.residual, y))
        assert total is not None
        return graph.lower(self.post, total)


def wavenet(
    num_classes: int = 256,
    in_channels: int = 256,
    residual: int = 64,
    skip: int = 256,
    blocks: int = 3,
    depth: int = 10,
    kernel: int = 2,
) -> WaveNet:
    """WaveNet, whose results (N, num_classes, time) depend on the samples up to each moment alone.

    Parameters
    ----------
    num_classes : int, default 256
        Levels of a sample.
    in_channels : int, default 256
        Channels of the input (N, in_channels, time), the levels as 0 and 1; 1 for a signal as it is.
    residual : int, default 64
        Channels that go from layer to layer.
    skip : int, default 256
        Channels that go from every layer to the end, where they are summed up.
    blocks : int, default 3
        How often the dilations begin again at 1.
    depth : int, default 10
        Layers of a block; their dilations are the powers of the kernel's size: 1, 2, 4 to 512.
    kernel : int, default 2
        Samples that a convolution sees.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.networks.wavenet(16, 1, residual=4, skip=8, blocks=1, depth=4).eval()
    >>> model(np.zeros((1, 1, 100), np.float32)).shape
    (1, 16, 100)
    """
    for name, value in (("blocks", blocks), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name}: got {value}; allowed: 1 or more")
    return WaveNet(num_classes, in_channels, residual, skip, blocks, depth, kernel)
