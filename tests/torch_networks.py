"""The networks of ``fastconv.nn.networks`` as ``torch.nn`` modules, written down once more: names as torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


class LeNet5(nn.Module):
    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.c1, self.c3, self.c5 = nn.Conv2d(in_channels, 6, 5), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5)
        self.f6, self.output = nn.Linear(120, 84), nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = nn.functional.avg_pool2d(torch.tanh(self.c3(x)), 2)
        return self.output(torch.tanh(self.f6(torch.tanh(self.c5(x)).flatten(1))))


class Stack(nn.Module):
    def __init__(self, features: list[nn.Module], size: int, classifier: list[nn.Module]) -> None:
        super().__init__()
        self.features, self.classifier = nn.Sequential(*features), nn.Sequential(*classifier)
        self.avgpool = nn.AdaptiveAvgPool2d(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(
    num_classes: int = 1000, in_channels: int = 3, width: int = 64, hidden: int = 4096, dropout: float = 0.5
) -> Any:
    w = width
    features = [nn.Conv2d(in_channels, w, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    features += [nn.Conv2d(w, 3 * w, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    features += [nn.Conv2d(3 * w, 6 * w, 3, padding=1), nn.ReLU(), nn.Conv2d(6 * w, 4 * w, 3, padding=1), nn.ReLU()]
    features += [nn.Conv2d(4 * w, 4 * w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    classifier = [nn.Dropout(dropout), nn.Linear(4 * w * 36, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return Stack(features, 6, [*classifier, nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)])


def vgg(
    letters: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: int = 64,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Any:
    """Digits are convolutions of as many times the width, M is pooling."""
    features: list[nn.Module] = []
    channels = in_channels
    for letter in letters:
        if letter == "M":
            features.append(nn.MaxPool2d(2, 2))
        else:
            features += [nn.Conv2d(channels, int(letter) * width, 3, padding=1), nn.ReLU()]
            channels = int(letter) * width
    classifier = [nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)]
    return Stack(features, 7, [*classifier, nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)])


def vgg11(**arguments: Any) -> Any:
    return vgg("1M2M44M88M88M", **arguments)


def vgg16(**arguments: Any) -> Any:
    return vgg("11M22M444M888M888M", **arguments)


class Residual(nn.Module):
    """BasicBlock where ``inner`` is None, else Bottleneck."""

    def __init__(self, before: int, width: int, stride: int, inner: int | None, groups: int) -> None:
        super().__init__()
        after = width if inner is None else 4 * width
        kernels = (3, 3) if inner is None else (1, 3, 1)
        channels = (before, width, width) if inner is None else (before, inner, inner, after)
        strided = 0 if inner is None else 1
        for i, kernel in enumerate(kernels):
            step, split = (stride, groups) if i == strided else (1, 1)
            conv = nn.Conv2d(channels[i], channels[i + 1], kernel, step, kernel // 2, groups=split, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(channels[i + 1]))
        self.count = len(kernels)
        self.downsample: Any = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(
        self,
        depths: Sequence[int],
        is_deep: bool,
        groups: int = 1,
        group_width: int = 64,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        channels = width
        for stage, depth in enumerate(depths):
            blocks, wide = [], width * 2**stage
            inner = int(wide * group_width / 64) * groups if is_deep else None
            for block in range(depth):
                blocks.append(Residual(channels, wide, 2 if stage and not block else 1, inner, groups))
                channels = 4 * wide if is_deep else wide
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def resnet18(**arguments: Any) -> Any:
    return ResNet((2, 2, 2, 2), False, **arguments)


def resnet50(**arguments: Any) -> Any:
    return ResNet((3, 4, 6, 3), True, **arguments)


def resnext50_32x4d(**arguments: Any) -> Any:
    return ResNet((3, 4, 6, 3), True, 32, 4, **arguments)


def divisible(channels: float) -> int:
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * channels else whole


def unit(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, activation: Any = None) -> Any:
    layers = [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Inverted(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide, layers = before * expansion, []
        if expansion != 1:
            layers.append(unit(before, wide, 1, activation=nn.ReLU6))
        layers.append(unit(wide, wide, 3, stride, wide, nn.ReLU6))
        self.conv = nn.Sequential(*layers, nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after))
        self.has_sum = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.has_sum else self.conv(x)


class Classifying(nn.Module):
    """``features``, the mean of every channel, ``classifier``."""

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class MobileNetV2(Classifying):
    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        rows = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        channels, last = divisible(32 * width_mult), divisible(1280 * max(1, width_mult))
        features = [unit(in_channels, channels, 3, 2, activation=nn.ReLU6)]
        for expansion, wanted, depth, stride in rows:
            for block in range(depth):
                after = divisible(wanted * width_mult)
                features.append(Inverted(channels, after, 1 if block else stride, expansion))
                channels = after
        self.features = nn.Sequential(*features, unit(channels, last, 1, activation=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(nn.functional.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide, layers = before * expansion, []
        if expansion != 1:
            layers.append(unit(before, wide, 1, activation=nn.SiLU))
        layers += [unit(wide, wide, kernel, stride, wide, nn.SiLU), SqueezeExcitation(wide, max(1, before // 4))]
        self.block = nn.Sequential(*layers, unit(wide, after, 1))
        self.has_sum = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.has_sum else self.block(x)


class EfficientNet(Classifying):
    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        width_mult: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        assert stochastic_depth == 0
        table = ("1 16 1 1 3", "6 24 2 2 3", "6 40 2 2 5", "6 80 3 2 3", "6 112 3 1 5", "6 192 4 2 5", "6 320 1 1 3")
        channels = divisible(32 * width_mult)
        features = [unit(in_channels, channels, 3, 2, activation=nn.SiLU)]
        for row in table:
            expansion, wanted, depth, stride, kernel = map(int, row.split())
            after, blocks = divisible(wanted * width_mult), []
            for block in range(depth):
                blocks.append(MBConv(channels, after, kernel, 1 if block else stride, expansion))
                channels = after
            features.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*features, unit(channels, 4 * channels, 1, activation=nn.SiLU))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * channels, num_classes))


class ChannelsNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        wide = [nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)]
        norm = nn.LayerNorm(channels, eps=1e-6)
        self.block = nn.Sequential(depthwise, Permute(0, 2, 3, 1), norm, *wide, Permute(0, 3, 1, 2))
        self.layer_scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale * self.block(x)


class ConvNeXt(nn.Module):
    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width: int = 96, stochastic_depth: float = 0.0
    ) -> None:
        super().__init__()
        assert stochastic_depth == 0
        features = [nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), ChannelsNorm(width, eps=1e-6))]
        for stage, depth in enumerate((3, 3, 9, 3)):
            channels = width * 2**stage
            if stage:
                shrink = nn.Conv2d(channels // 2, channels, 2, 2)
                features.append(nn.Sequential(ChannelsNorm(channels // 2, eps=1e-6), shrink))
            features.append(nn.Sequential(*(ConvNeXtBlock(channels) for _ in range(depth))))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            ChannelsNorm(channels, eps=1e-6), nn.Flatten(), nn.Linear(channels, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1))


class UNet(nn.Module):
    def __init__(
        self,
        conv: Any,
        up: Any,
        norm: Any,
        first: list[int],
        second: list[int],
        grown: list[int],
        in_channels: int,
        num_classes: int,
        padding: str,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        self.depth, self.pool = len(first) - 1, nn.MaxPool2d(2) if conv is nn.Conv2d else nn.MaxPool3d(2)

        def pair(*channels: int) -> nn.Module:
            named = nn.Sequential()
            for i in (1, 2):
                pad = 1 if padding == "same" else 0
                named.add_module(f"conv{i}", conv(channels[i - 1], channels[i], 3, padding=pad, bias=not batch_norm))
                if batch_norm:
                    named.add_module(f"norm{i}", norm(channels[i]))
                named.add_module(f"relu{i}", nn.ReLU())
            return named

        for i in range(self.depth + 1):
            self.add_module(f"down{i}", pair(second[i - 1] if i else in_channels, first[i], second[i]))
        for i in range(self.depth):
            self.add_module(f"grow{i}", up(second[i + 1], grown[i], 2, 2))
            self.add_module(f"up{i}", pair(second[i] + grown[i], second[i], second[i]))
        self.classes = conv(second[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i in range(self.depth):
            skips.append(getattr(self, f"down{i}")(x))
            x = self.pool(skips[-1])
        x = getattr(self, f"down{self.depth}")(x)
        for i in reversed(range(self.depth)):
            x, skip = getattr(self, f"grow{i}")(x), skips[i]
            for axis in range(2, x.ndim):
                size = x.shape[axis]
                skip = skip.narrow(axis, (skip.shape[axis] - size) // 2, size)
            x = getattr(self, f"up{i}")(torch.cat([skip, x], 1))
        return self.classes(x)


def unet(
    num_classes: int = 2,
    in_channels: int = 1,
    width: int = 64,
    depth: int = 4,
    padding: str = "same",
    batch_norm: bool = False,
) -> Any:
    widths = [width * 2**i for i in range(depth + 1)]
    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    return UNet(*layers, widths, widths, widths, in_channels, num_classes, padding, batch_norm)


def unet3d(
    num_classes: int = 3,
    in_channels: int = 3,
    width: int = 32,
    depth: int = 3,
    padding: str = "same",
    batch_norm: bool = True,
) -> Any:
    first = [width * 2**i for i in range(depth + 1)]
    second = [2 * each for each in first]
    layers = (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d)
    return UNet(*layers, first, second, second[1:], in_channels, num_classes, padding, batch_norm)


class TextCNN(nn.Module):
    def __init__(
        self,
        num_embeddings: int = 20000,
        num_classes: int = 2,
        embedding_dim: int = 300,
        channels: int = 100,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
        padding_idx: int | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
        self.widths, self.dropout = widths, nn.Dropout(dropout)
        for words in widths:
            self.add_module(f"words{words}", nn.Conv1d(embedding_dim, channels, words))
        self.fc = nn.Linear(len(widths) * channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x).transpose(1, 2)
        found = [torch.relu(getattr(self, f"words{words}")(x)).amax(2) for words in self.widths]
        return self.fc(self.dropout(torch.cat(found, 1)))


class Causal(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class WaveNetLayer(nn.Module):
    def __init__(self, residual: int, skip: int, kernel: int, dilation: int, is_last: bool) -> None:
        super().__init__()
        self.gated = Causal(residual, 2 * residual, kernel, dilation=dilation)
        self.skip = nn.Conv1d(residual, skip, 1)
        self.residual: Any = None if is_last else nn.Conv1d(residual, residual, 1)


class WaveNet(nn.Module):
    def __init__(
        self,
        num_classes: int = 256,
        in_channels: int = 256,
        residual: int = 64,
        skip: int = 256,
        blocks: int = 3,
        depth: int = 10,
        kernel: int = 2,
    ) -> None:
        super().__init__()
        self.embed = Causal(in_channels, residual, kernel)
        self.names = [f"block{block}_layer{layer}" for block in range(blocks) for layer in range(depth)]
        for i, name in enumerate(self.names):
            is_last = i == len(self.names) - 1
            self.add_module(name, WaveNetLayer(residual, skip, kernel, kernel ** (i % depth), is_last))
        post = [nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, num_classes, 1)]
        self.post = nn.Sequential(*post)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.embed(x), []
        for name in self.names:
            layer = getattr(self, name)
            signal, gate = layer.gated(x).chunk(2, 1)
            y = torch.tanh(signal) * torch.sigmoid(gate)
            skips.append(layer.skip(y))
            x = x if layer.residual is None else x + layer.residual(y)
        return self.post(sum(skips))


BUILDERS: dict[str, Any] = {
    "lenet5": LeNet5,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnext50_32x4d": resnext50_32x4d,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNet,
    "convnext_tiny": ConvNeXt,
    "unet": unet,
    "unet3d": unet3d,
    "textcnn": TextCNN,
    "wavenet": WaveNet,
}


def build(name: str, **arguments: Any) -> Any:
    """The network of a name, its weights drawn from a fixed seed, none of them what they begin with by rule."""
    torch.manual_seed(0)
    model = BUILDERS[name](**arguments)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith(("running_var", "layer_scale")) or (tensor.ndim == 1 and key.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("bias", "running_mean")):
                tensor.uniform_(-0.3, 0.3)
    return model
