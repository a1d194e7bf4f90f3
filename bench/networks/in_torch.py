"""A network of ``fastconv.nn`` as one of ``torch.nn``: the same layers with the same numbers, as torch has them."""

from __future__ import annotations

from typing import Any

import torch

from fastconv import nn

Make = Any


class Residual(torch.nn.Module):  # type: ignore[misc,name-defined]
    """``activation(body(x) + shortcut(x))``, in place where torchvision's networks are."""

    def __init__(self, body: Any, shortcut: Any, activation: Any) -> None:
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        y += x if self.shortcut is None else self.shortcut(x)
        return y if self.activation is None else self.activation(y)


class Joined(torch.nn.Module):  # type: ignore[misc,name-defined]
    """What two modules make of one input, put together by a function."""

    def __init__(self, first: Any, second: Any, function: Any) -> None:
        super().__init__()
        self.first, self.second, self.function = first, second, function

    def forward(self, x: Any) -> Any:
        return self.function(self.first(x), self.second(x))


class Scale(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The input times a parameter."""

    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(weight.copy()))

    def forward(self, x: Any) -> Any:
        return x * self.weight


class LayerNorm2d(torch.nn.LayerNorm):  # type: ignore[misc,name-defined]
    """Over the channels of every pixel, as torchvision has it."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The axes in another order."""

    def __init__(self, dims: Any) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Any) -> Any:
        return x.permute(self.dims)


def _side_by_side(x: Any, y: Any) -> Any:
    return torch.cat((x, y), 1)


def _times(x: Any, y: Any) -> Any:
    return x * y


def in_torch(module: nn.Module) -> Any:
    """The module of torch's; TypeError for one that has no likeness here."""
    if isinstance(module, nn.Composite):
        return in_torch(module._route)
    if isinstance(module, nn.Sequential):
        return torch.nn.Sequential(*map(in_torch, module))
    if isinstance(module, nn.Residual):
        others = (None if part is None else in_torch(part) for part in (module.shortcut, module.activation))
        return Residual(in_torch(module.body), *others)
    name = type(module).__name__
    if isinstance(module, nn.Multiply):
        first, second = map(in_torch, module._branches)
        return Joined(first, second, _times)
    if name == "Skip":
        return Joined(torch.nn.Identity(), in_torch(module.inner), _side_by_side)  # type: ignore[attr-defined]
    if name == "Scale":
        return Scale(module.weight.data)  # type: ignore[attr-defined]
    if name not in LAYERS:
        raise TypeError(f"{name} has no form in torch here; those that have: {', '.join(LAYERS)}")
    made = LAYERS[name](module)
    state = {key: torch.from_numpy(value.copy()) for key, value in module.state_dict().items()}
    made.load_state_dict(state)
    return made


def _convolution(module: Any) -> Any:
    return torch.nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
        bias=module.bias is not None,
    )


LAYERS: dict[str, Make] = {
    "Conv2d": _convolution,
    "BatchNorm2d": lambda module: torch.nn.BatchNorm2d(module.num_features, module.eps, module.momentum),
    "ReLU": lambda module: torch.nn.ReLU(inplace=True),
    "ReLU6": lambda module: torch.nn.ReLU6(inplace=True),
    "SiLU": lambda module: torch.nn.SiLU(inplace=True),
    "GELU": lambda module: torch.nn.GELU(),
    "MaxPool2d": lambda module: torch.nn.MaxPool2d(module.kernel_size, module.stride, module.padding),
    "AdaptiveAvgPool2d": lambda module: torch.nn.AdaptiveAvgPool2d(module.output_size),
    "Flatten": lambda module: torch.nn.Flatten(),
    "Dropout": lambda module: torch.nn.Dropout(module.p),
    "ConvTranspose2d": lambda module: torch.nn.ConvTranspose2d(
        *(module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
    ),
    "StochasticDepth": lambda module: torch.nn.Identity(),
    "LayerNorm": lambda module: torch.nn.LayerNorm(module.normalized_shape, module.eps),
    "LayerNorm2d": lambda module: LayerNorm2d(module.normalized_shape, module.eps),
    "Permute": lambda module: Permute(module.dims),
    "Sigmoid": lambda module: torch.nn.Sigmoid(),
    "Identity": lambda module: torch.nn.Identity(),
    "Linear": lambda module: torch.nn.Linear(module.weight.shape[1], module.weight.shape[0], module.bias is not None),
}
