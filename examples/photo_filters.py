"""Classic image filters as convolutions, on a photograph; writes a labelled sheet of the results.

    python examples/photo_filters.py [PHOTO] [--output photo_filters.png] [--gpu]

Without PHOTO it takes the portrait that scikit-image ships. Needs `pip install ".[examples]"`. With --gpu the same
functions compute on CuPy arrays, from the photograph to the finished pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import fastconv

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
PANEL, CAPTION, GAP, COLUMNS = 420, 62, 14, 3
PAPER, INK, FAINT = (250, 249, 246), (28, 28, 30), (120, 118, 112)


# Kernels.


def gaussian(sigma: float) -> np.ndarray:
    """A Gaussian of unit sum that reaches three sigma, (k, k)."""
    reach = int(np.ceil(3 * sigma))
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(line, line)
    return (kernel / kernel.sum()).astype(np.float32)


def disc(radius: int) -> np.ndarray:
    """A disc with a soft edge and unit sum, (2 * radius + 1, 2 * radius + 1): a lens out of focus."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def sobel() -> np.ndarray:
    """Derivatives along x and y, (2, 1, 3, 3)."""
    along_x = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32) / 8
    return np.stack([along_x, along_x.T])[:, None]


def gabor_bank(orientations: int = 8, wavelength: float = 9, size: int = 25) -> np.ndarray:
    """Even and odd waves in a Gaussian window, each of zero mean, (2 * orientations, 1, size, size)."""
    half = size // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    window = np.exp(-(x**2 + y**2) / (2 * (0.45 * wavelength) ** 2))
    kernels = []
    for angle in np.arange(orientations) * np.pi / orientations:
        phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
        for wave in (np.cos(phase), np.sin(phase)):
            kernel = window * (wave - (window * wave).sum() / window.sum())
            kernels.append(kernel / np.abs(kernel).sum())
    return np.array(kernels, np.float32)[:, None]


# Filters: from a photograph, (height, width, 3) from 0 to 1, to a picture of the same kind. They are NumPy's arrays or
# CuPy's; NumPy's functions compute on both, and what else is needed, beside(photo, ...) puts where the photograph is.


def beside(photo: np.ndarray, values: object) -> np.ndarray:
    """An array of the photograph's kind."""
    return np.asarray(values, like=photo)


def each_channel(photo: np.ndarray, kernel: np.ndarray, **arguments: object) -> np.ndarray:
    """One kernel over every colour: a depthwise convolution of channels-last data, mirrored at the borders."""
    weights = beside(photo, np.repeat(kernel[None, None], photo.shape[-1], axis=0))
    return fastconv.depthwise_conv2d(photo, weights, padding="same", padding_mode="reflect", layout="NHWC", **arguments)


def brightness(photo: np.ndarray) -> np.ndarray:
    """(1, height, width): a 1x1 convolution over the colours."""
    return fastconv.conv2d(np.moveaxis(photo, -1, 0), beside(photo, LUMA[None, :, None, None]))


def blur(photo: np.ndarray) -> np.ndarray:
    return each_channel(photo, gaussian(3))


def lens_blur(photo: np.ndarray) -> np.ndarray:
    """In linear light, as a lens blurs: highlights become discs."""
    algorithm = "fft_scipy" if isinstance(photo, np.ndarray) else "auto"
    return each_channel(photo**2.2, disc(30), algorithm=algorithm).clip(0, None) ** (1 / 2.2)


def sharpen(photo: np.ndarray) -> np.ndarray:
    """Unsharp masking: twice the photograph minus its blur, one kernel."""
    kernel = -1.5 * gaussian(2)
    kernel[len(kernel) // 2, len(kernel) // 2] += 2.5
    return each_channel(photo, kernel)


def half_size(photo: np.ndarray) -> np.ndarray:
    """Blurred against aliasing and sampled at every second pixel, in one strided convolution."""
    return each_channel(photo, gaussian(1), stride=2)


def sobel_gradient(photo: np.ndarray) -> np.ndarray:
    return fastconv.conv2d(brightness(photo), beside(photo, sobel()), padding="same", padding_mode="replicate")


def edges(photo: np.ndarray) -> np.ndarray:
    strength = np.hypot(*sobel_gradient(photo))
    ink = (strength / np.quantile(strength, 0.995)).clip(0, 1) ** 0.75
    return np.repeat(1 - ink[..., None], 3, axis=-1)


def edge_directions(photo: np.ndarray) -> np.ndarray:
    """Hue is the direction of the gradient, brightness its strength."""
    along_x, along_y = sobel_gradient(photo)
    return hue_picture(np.arctan2(along_y, along_x) / (2 * np.pi), np.hypot(along_x, along_y))


def gabor_texture(photo: np.ndarray) -> np.ndarray:
    """Hue is the prevailing orientation of waves, brightness their energy."""
    bank = beside(photo, gabor_bank())
    responses = fastconv.conv2d(brightness(photo), bank, padding="same", padding_mode="reflect")
    energy = responses[0::2] ** 2 + responses[1::2] ** 2
    # An orientation comes back after half a turn: twice the angle makes it a direction, and directions have averages.
    twice_the_angle = np.exp(2j * np.pi * np.arange(len(energy)) / len(energy))
    twice_the_angle = beside(photo, twice_the_angle.astype(np.complex64))
    direction = np.tensordot(twice_the_angle, energy.astype(np.complex64), 1)[None]
    window = beside(photo, gaussian(3).astype(np.complex64)[None, None])
    mean = fastconv.conv2d(direction, window, padding="same", padding_mode="reflect")[0]
    return hue_picture(np.angle(mean) / (2 * np.pi), np.sqrt(energy.sum(axis=0)))


def gabor_kernels(photo: np.ndarray) -> np.ndarray:
    """The bank itself, as a picture."""
    kernels = gabor_bank()[:, 0]
    kernels = kernels / np.abs(kernels).max(axis=(1, 2), keepdims=True)
    cells = np.pad(kernels, ((0, 0), (2, 2), (2, 2))).reshape(4, 4, 29, 29)
    picture = 0.5 + 0.5 * cells.transpose(0, 2, 1, 3).reshape(4 * 29, 4 * 29)
    return np.repeat(picture[..., None], 3, axis=-1)


def hue_picture(hue: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(height, width, 3) of fully saturated colours, darker where ``value`` is small."""
    sector = (hue % 1)[..., None] * 6 + beside(hue, [0, 4, 2])
    colour = np.clip(np.abs(sector % 6 - 3) - 1, 0, 1)
    return colour * (value / np.quantile(value, 0.995)).clip(0, 1)[..., None] ** 0.7


class Panel(NamedTuple):
    """One picture of the sheet: its title, the call that made it, and the function."""

    title: str
    call: str
    make: Callable[[np.ndarray], np.ndarray]


PANELS = [
    Panel("Photograph", "as it is", lambda photo: photo),
    Panel("Gaussian blur, 19 x 19", 'depthwise_conv2d(padding_mode="reflect")', blur),
    Panel("Lens blur, 61 x 61", 'depthwise_conv2d(algorithm="fft_scipy")', lens_blur),
    Panel("Unsharp mask, 13 x 13", 'depthwise_conv2d(padding="same")', sharpen),
    Panel("Half the size", "depthwise_conv2d(stride=2)", half_size),
    Panel("Sobel edges", 'conv2d(padding_mode="replicate")', edges),
    Panel("Directions of edges", "conv2d, two 3 x 3 kernels", edge_directions),
    Panel("Texture by a Gabor bank", "conv2d, sixteen 25 x 25 kernels", gabor_texture),
    Panel("The Gabor bank", "even and odd waves, 8 orientations", gabor_kernels),
]


def load(path: str | None) -> np.ndarray:
    """A photograph as (height, width, 3) float32 from 0 to 1."""
    if path is None:
        from skimage import data

        pixels = data.astronaut()
    else:
        pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels.astype(np.float32) / 255


def on_gpu(photo: np.ndarray) -> np.ndarray:
    """The photograph as a CuPy array; SystemExit that says what is missing."""
    try:
        import cupy
    except ImportError:
        raise SystemExit('--gpu: CuPy is not installed: pip install ".[cuda13]", or [cuda12]') from None
    if not cupy.cuda.is_available():
        raise SystemExit("--gpu: there is no CUDA device, or no driver for it")
    return cupy.asarray(photo)


def on_host(picture: np.ndarray) -> np.ndarray:
    """A finished picture as NumPy's array: a copy from the GPU waits until it is finished."""
    return picture if isinstance(picture, np.ndarray) else picture.get()


def sheet(photo: np.ndarray) -> Image.Image:
    """All panels with their captions and times."""
    width = COLUMNS * (PANEL + GAP) + GAP
    rows = -(-len(PANELS) // COLUMNS)
    page = Image.new("RGB", (width, rows * (PANEL + CAPTION + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    title_font, call_font = ImageFont.load_default(20), ImageFont.load_default(15)
    for number, panel in enumerate(PANELS):
        on_host(panel.make(photo))  # the first call plans, imports scipy.fft, and loads kernels
        start = time.perf_counter()
        picture = on_host(panel.make(photo))
        milliseconds = 1e3 * (time.perf_counter() - start)
        x = GAP + number % COLUMNS * (PANEL + GAP)
        y = GAP + number // COLUMNS * (PANEL + CAPTION + GAP)
        place(page, picture, x, y, photo.shape, panel)
        draw.text((x, y + PANEL + 6), panel.title, INK, title_font)
        call = panel.call if isinstance(photo, np.ndarray) else panel.call.replace('algorithm="fft_scipy"', "")
        draw.text((x, y + PANEL + 32), call, FAINT, call_font)
        if "conv2d" in panel.call:
            draw.text((x + PANEL, y + PANEL + 32), f"{milliseconds:.1f} ms", FAINT, call_font, anchor="ra")
    return page


def place(page: Image.Image, picture: np.ndarray, x: int, y: int, shape: tuple[int, ...], panel: Panel) -> None:
    """Paste a picture into its square, at the scale of the photograph; the bank is enlarged to fill it."""
    image = Image.fromarray((255 * picture.clip(0, 1) + 0.5).astype(np.uint8))
    enlarged = panel.make is gabor_kernels
    scale = PANEL / max(image.size if enlarged else shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.size)
    image = image.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)
    page.paste((235, 233, 228), (x, y, x + PANEL, y + PANEL))
    page.paste(image, (x + (PANEL - size[0]) // 2, y + (PANEL - size[1]) // 2))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Filters a photograph and writes a sheet of the results.")
    parser.add_argument("photo", nargs="?", help="an image file; default: the portrait that scikit-image ships")
    parser.add_argument("--output", default="photo_filters.png", help="default: %(default)s")
    parser.add_argument("--gpu", action="store_true", help="compute on CuPy arrays; times include the way back")
    options = parser.parse_args(arguments)
    photo = on_gpu(load(options.photo)) if options.gpu else load(options.photo)
    sheet(photo).save(options.output)
    print(f"{options.output}: {len(PANELS)} panels from a photograph of {photo.shape[1]} x {photo.shape[0]} pixels")


if __name__ == "__main__":
    main()
