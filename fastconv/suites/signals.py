"""Text, sound, and the filters of image processing."""

from __future__ import annotations

from .layers import Feature, Network


def textcnn(net: Network) -> None:
    """Kim's CNN (2014) on a sentence of 56 words, the longest of its first data set, in 300-dimensional embeddings."""
    for words in (3, 4, 5):
        net.conv(f"words{words}", Feature(300, (56,)), 100, words, padding=0)


def wavenet(net: Network) -> None:
    """WaveNet (van den Oord et al., 2016) on a second of 16 kHz sound: 3 times the dilations 1 to 512.

    The paper leaves the widths open; these are 256 levels in and out, 64 residual and 256 skip channels. Nothing uses
    what the last layer would hand on.
    """
    x = net.conv("embed", Feature(256, (16000,)), 64, 2, padding=(1, 0))
    layers = [(block, 2**power) for block in range(3) for power in range(10)]
    for block, dilation in layers:
        name = f"block{block}.dilation{dilation}"
        net.conv(f"{name}.gated", x, 2 * 64, 2, padding=(dilation, 0), dilation=dilation)
        net.conv(f"{name}.skip", x, 256, 1)
        if (block, dilation) != layers[-1]:
            net.conv(f"{name}.residual", x, 64, 1)
    y = Feature(256, x.size)
    net.conv("post1", y, 256, 1)
    net.conv("post2", y, 256, 1)


def image_filters(net: Network) -> None:
    """Filters of image processing: on one channel of 1024x1024 pixels, and on a 1080p colour frame."""
    gray, color = Feature(1, (1024, 1024)), Feature(3, (1080, 1920))
    net.conv("sobel", gray, 2, 3)
    for kernel in (3, 5, 7, 15, 31, 63):
        net.conv(f"blur{kernel}", gray, 1, kernel)
    for kernel in (15, 63):
        net.conv(f"blur{kernel}.rows", gray, 1, (1, kernel))
        net.conv(f"blur{kernel}.columns", gray, 1, (kernel, 1))
    net.conv("gabor", gray, 16, 21)
    for kernel in (3, 9):
        net.conv(f"color_blur{kernel}", color, 3, kernel, groups=3)
    net.conv("color_to_gray", color, 1, 1)
