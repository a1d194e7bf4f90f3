"""One training step of a network: forward, cross entropy, backward and SGD with momentum, by fastconv and by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from fastconv import nn

Step = Callable[[], float]
CLASSES, SIZE = 1000, 224
RATE, MOMENTUM = 0.01, 0.9
FORMATS = ("contiguous", "channels_last")
"""Of torch's arrays."""


def network(name: str) -> nn.Module:
    """A network with random weights, the same ones each time; without dropout, which draws other numbers in torch."""
    nn.seed(0)
    made = nn.networks.build(name, num_classes=CLASSES)
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def batch_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and their classes."""
    random = np.random.default_rng(0)
    return random.standard_normal((count, 3, SIZE, SIZE)).astype(np.float32), random.integers(0, CLASSES, count)


def own_step(model: nn.Module, count: int) -> Step:
    """A step by fastconv, which returns the loss."""
    x, target = batch_of(count)
    loss = nn.CrossEntropyLoss()
    optimizer = nn.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> float:
        model.zero_grad()
        value = float(loss(model(x), target))
        model.backward(loss.backward(), wants_dx=False)
        optimizer.step()
        return value

    return step


def torch_step(model: nn.Module, count: int, layout: str) -> Step:
    """The same by torch's eager mode, its arrays in one of ``FORMATS``."""
    import torch

    from .in_torch import in_torch

    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    theirs = in_torch(model).to(memory_format=memory).train()
    images, classes = batch_of(count)
    x, target = torch.from_numpy(images).contiguous(memory_format=memory), torch.from_numpy(classes)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=RATE, momentum=MOMENTUM)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(x), target)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def set_threads(threads: int) -> None:
    """Of fastconv, and of torch where it is imported."""
    import sys

    fastconv.set_num_threads(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)  # type: ignore[attr-defined]


def step_of(name: str, contestant: str, count: int) -> Any:
    """A step of the network by "fastconv" or by one of torch's formats."""
    model = network(name)
    return own_step(model, count) if contestant == "fastconv" else torch_step(model, count, contestant)
