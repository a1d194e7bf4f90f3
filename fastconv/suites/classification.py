"""Networks that name what an image shows; linear layers are left out, except where a network has them per pixel."""

from __future__ import annotations

from .layers import Feature, Network

PHOTO = Feature(3, (224, 224))


def lenet(net: Network) -> None:
    """LeNet-5 on 32x32 digits (LeCun et al., 1998), its second layer fully connected."""
    x = net.conv("c1", Feature(1, (32, 32)), 6, 5, padding=0).pooled(2, 2)
    x = net.conv("c3", x, 16, 5, padding=0).pooled(2, 2)
    net.conv("c5", x, 120, 5, padding=0)


def alexnet(net: Network) -> None:
    """AlexNet on 224x224 photographs, the one-tower form (Krizhevsky, 2014)."""
    x = net.conv("conv1", PHOTO, 64, 11, stride=4, padding=2).pooled(3, 2)
    x = net.conv("conv2", x, 192, 5).pooled(3, 2)
    for number, channels in enumerate((384, 256, 256), 3):
        x = net.conv(f"conv{number}", x, channels, 3)


def vgg16(net: Network) -> None:
    """VGG-16, configuration D, on 224x224 photographs (Simonyan and Zisserman, 2014)."""
    x = PHOTO
    for stage, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for number in range(1, depth + 1):
            x = net.conv(f"conv{stage}_{number}", x, channels, 3)
        x = x.pooled(2, 2)


def resnet18(net: Network) -> None:
    """ResNet-18 on 224x224 photographs (He et al., 2015)."""
    x = _resnet_stem(net)
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}.{block}"
            y = net.conv(f"{name}.conv1", x, channels, 3, stride=stride)
            y = net.conv(f"{name}.conv2", y, channels, 3)
            if (stride, x.channels) != (1, channels):
                net.conv(f"{name}.downsample", x, channels, 1, stride=stride)
            x = y


def resnet50(net: Network) -> None:
    """ResNet-50 on 224x224 photographs (He et al., 2015), strides in the 3x3 layers as everybody has them now."""
    _bottlenecks(net, width=64, groups=1)


def resnext50(net: Network) -> None:
    """ResNeXt-50 32x4d on 224x224 photographs (Xie et al., 2016)."""
    _bottlenecks(net, width=128, groups=32)


def _resnet_stem(net: Network) -> Feature:
    return net.conv("conv1", PHOTO, 64, 7, stride=2).pooled(3, 2, 1)


def _bottlenecks(net: Network, width: int, groups: int) -> None:
    """Four stages of 1x1, 3x3, 1x1 blocks; ``width`` is that of the first stage's 3x3 layers."""
    x = _resnet_stem(net)
    for stage, depth in enumerate((3, 4, 6, 3)):
        inner, outer = width << stage, 256 << stage
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"layer{stage + 1}.{block}"
            y = net.conv(f"{name}.conv1", x, inner, 1)
            y = net.conv(f"{name}.conv2", y, inner, 3, stride=stride, groups=groups)
            y = net.conv(f"{name}.conv3", y, outer, 1)
            if block == 0:
                net.conv(f"{name}.downsample", x, outer, 1, stride=stride)
            x = y


def mobilenet_v2(net: Network) -> None:
    """MobileNetV2 1.0 on 224x224 photographs (Sandler et al., 2018)."""
    x = net.conv("stem", PHOTO, 32, 3, stride=2)
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for stage, (expansion, channels, depth, first_stride) in enumerate(rows, 1):
        for block in range(depth):
            name, stride = f"stage{stage}.{block}", first_stride if block == 0 else 1
            x = _inverted_residual(net, name, x, channels, expansion, 3, stride)
    net.conv("head", x, 1280, 1)


def efficientnet_b0(net: Network) -> None:
    """EfficientNet-B0 on 224x224 photographs (Tan and Le, 2019), its squeeze-and-excitation layers included."""
    x = net.conv("stem", PHOTO, 32, 3, stride=2)
    rows = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )
    for stage, (expansion, channels, depth, first_stride, kernel) in enumerate(rows, 1):
        for block in range(depth):
            name, stride = f"stage{stage}.{block}", first_stride if block == 0 else 1
            x = _inverted_residual(net, name, x, channels, expansion, kernel, stride, squeezed=x.channels // 4)
    net.conv("head", x, 1280, 1)


def _inverted_residual(
    net: Network,
    name: str,
    x: Feature,
    channels: int,
    expansion: int,
    kernel: int,
    stride: int,
    squeezed: int | None = None,
) -> Feature:
    """1x1 to ``expansion`` times the channels, depthwise, with ``squeezed`` the gate of two 1x1 layers, 1x1 back."""
    wide = x.channels * expansion
    y = net.conv(f"{name}.expand", x, wide, 1) if expansion > 1 else x
    y = net.conv(f"{name}.depthwise", y, wide, kernel, stride=stride, groups=wide)
    if squeezed is not None:
        gate = net.conv(f"{name}.squeeze", y.averaged(), squeezed, 1)
        net.conv(f"{name}.excite", gate, wide, 1)
    return net.conv(f"{name}.project", y, channels, 1)


def convnext_tiny(net: Network) -> None:
    """ConvNeXt-T on 224x224 photographs (Liu et al., 2022); its linear layers on every pixel are 1x1 convolutions."""
    x = net.conv("stem", PHOTO, 96, 4, stride=4, padding=0)
    for stage, (channels, depth) in enumerate(((96, 3), (192, 3), (384, 9), (768, 3))):
        if stage > 0:
            x = net.conv(f"downsample{stage}", x, channels, 2, stride=2, padding=0)
        for block in range(depth):
            name = f"stage{stage}.{block}"
            y = net.conv(f"{name}.depthwise", x, channels, 7, groups=channels)
            y = net.conv(f"{name}.expand", y, 4 * channels, 1)
            x = net.conv(f"{name}.project", y, channels, 1)
