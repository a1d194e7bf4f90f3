"""Networks that name every pixel or voxel."""

from __future__ import annotations

from .layers import Feature, Network


def unet(net: Network) -> None:
    """U-Net on a 572x572 micrograph, without padding (Ronneberger et al., 2015)."""
    x = Feature(1, (572, 572))
    skips = []
    for level, channels in enumerate((64, 128, 256, 512, 1024)):
        if level > 0:
            skips.append(x)
            x = x.pooled(2, 2)
        for number in (1, 2):
            x = net.conv(f"down{level}.conv{number}", x, channels, 3, padding=0)
    for level, skip in zip((3, 2, 1, 0), reversed(skips), strict=True):
        x = net.up_conv(f"up{level}.up", x, skip.channels, 2).joined(skip)
        for number in (1, 2):
            x = net.conv(f"up{level}.conv{number}", x, skip.channels, 3, padding=0)
    net.conv("classes", x, 2, 1)


def unet3d(net: Network) -> None:
    """3-D U-Net on 132x132x116 voxels of three channels, without padding (Cicek et al., 2016)."""
    x = Feature(3, (116, 132, 132))
    skips = []
    for level, channels in enumerate((32, 64, 128, 256)):
        if level > 0:
            skips.append(x)
            x = x.pooled(2, 2)
        x = net.conv(f"down{level}.conv1", x, channels, 3, padding=0)
        x = net.conv(f"down{level}.conv2", x, 2 * channels, 3, padding=0)
    for level, skip in zip((2, 1, 0), reversed(skips), strict=True):
        x = net.up_conv(f"up{level}.up", x, x.channels, 2).joined(skip)
        for number in (1, 2):
            x = net.conv(f"up{level}.conv{number}", x, skip.channels, 3, padding=0)
    net.conv("classes", x, 3, 1)
