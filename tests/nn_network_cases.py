"""Networks made small, what they are given, and the same in torch: for tests that compare the two."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv import nn


class NetworkCase(NamedTuple):
    """A network, arguments that make it small and let nothing drop out, and the shape of what it is given."""

    name: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    numbers: int = 0
    """How many words there are, where it is given words."""

    def __str__(self) -> str:
        kind = "".join(f"-{value}" for value in self.arguments.values() if isinstance(value, (str, bool)))
        return f"{self.name}{kind}"


STACK = {"width": 4, "hidden": 24, "num_classes": 5, "dropout": 0.0}
EVERY = {"num_classes": 5, "dropout": 0.0}
CASES = [
    NetworkCase("lenet5", {}, (3, 1, 32, 32)),
    NetworkCase("alexnet", {**STACK, "in_channels": 2}, (2, 2, 67, 95)),
    NetworkCase("vgg11", STACK, (2, 3, 33, 47)),
    NetworkCase("vgg16", STACK, (2, 3, 32, 37)),
    NetworkCase("resnet18", {"width": 8, "num_classes": 5, "in_channels": 1}, (3, 1, 49, 65)),
    NetworkCase("resnet50", {"width": 4, "num_classes": 5}, (3, 3, 49, 65)),
    NetworkCase("resnext50_32x4d", {"width": 16, "num_classes": 5}, (3, 3, 49, 33)),
    NetworkCase("mobilenet_v2", {**EVERY, "width_mult": 0.25}, (3, 3, 49, 65)),
    NetworkCase("efficientnet_b0", {**EVERY, "width_mult": 0.25, "stochastic_depth": 0.0}, (3, 3, 49, 65)),
    NetworkCase("convnext_tiny", {"num_classes": 5, "width": 8, "stochastic_depth": 0.0}, (2, 3, 37, 64)),
    NetworkCase("unet", {"width": 4, "depth": 3}, (2, 1, 24, 40)),
    NetworkCase("unet", {"width": 4, "depth": 2, "padding": "valid", "batch_norm": True}, (2, 1, 45, 47)),
    NetworkCase("unet3d", {"width": 2, "depth": 2}, (2, 3, 8, 12, 16)),
    NetworkCase("unet3d", {"width": 2, "depth": 1, "padding": "valid", "batch_norm": False}, (1, 3, 18, 20, 19)),
    NetworkCase("textcnn", {"num_embeddings": 50, "embedding_dim": 9, "channels": 7, "dropout": 0.0}, (4, 11), 50),
    NetworkCase("wavenet", {"num_classes": 6, "in_channels": 3, "residual": 5, "skip": 8, "depth": 4}, (2, 3, 41)),
]
NAMES = [str(case) for case in CASES]


def data(case: NetworkCase, dtype: Any = "float64", seed: int = 0) -> np.ndarray:
    """What the network is given."""
    random = np.random.default_rng([1, seed])
    if case.numbers:
        return random.integers(0, case.numbers, case.shape)
    return random.standard_normal(case.shape).astype(dtype)


def both(case: NetworkCase, dtype: str = "float64", is_training: bool = True) -> tuple[Any, Any]:
    """The network and torch's, with the same weights."""
    import torch

    from torch_networks import build

    theirs = build(case.name, **case.arguments).to(getattr(torch, dtype)).train(is_training)
    ours = nn.networks.build(case.name, **case.arguments).astype(dtype).train(is_training)
    ours.load_state_dict({key: tensor.numpy() for key, tensor in theirs.state_dict().items()})
    return ours, theirs


def fortran(array: np.ndarray) -> np.ndarray:
    """A copy whose first axis is the innermost in memory."""
    return np.array(array, order="F")
