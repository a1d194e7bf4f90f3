"""Looking into a small network that reads digits: its filters, what it sees, what it answers by, and how to fool it.

    python examples/looking_in.py [--output FOLDER] [--epochs 20]

Trains two networks on the digits that scikit-learn ships, one on the images and one on attacked ones, and writes five
sheets: filters, feature_maps, saliency, grad_cam and adversarial. Needs `pip install ".[examples]"`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from fastconv import nn
from fastconv.nn import looking

PAPER, INK, FAINT, WRONG = (250, 249, 246), (28, 28, 30), (120, 118, 112), (196, 48, 32)
HEAT = np.array([[16, 14, 40], [96, 24, 112], [208, 64, 72], [250, 160, 48], [252, 250, 200]], np.float32) / 255
"""Colours of 0 to 1."""
TILE, GAP, MARGIN = 104, 8, 20
EPSILON = 0.1
RADII = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2)


class Digits(NamedTuple):
    """Images of 16x16 from 0 to 1, and what they show."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def load() -> Digits:
    """scikit-learn's digits, of twice their size, the last fifth for the test."""
    data = load_digits()
    images = (data.images[:, None] / 16).astype(np.float32)
    x = nn.Upsample(scale_factor=2, mode="bilinear").eval()(images)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], data.target[order]
    part = len(x) * 4 // 5
    return Digits(x[:part], y[:part], x[part:], y[part:])


def network() -> nn.Sequential:
    """Three convolutions; the second and third see 8x8."""
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, 5, padding=2),
            "bn1": nn.BatchNorm2d(16),
            "relu1": nn.ReLU(),
            "pool": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(16, 32, 3, padding=1),
            "bn2": nn.BatchNorm2d(32),
            "relu2": nn.ReLU(),
            "conv3": nn.Conv2d(32, 32, 3, padding=1),
            "bn3": nn.BatchNorm2d(32),
            "relu3": nn.ReLU(),
            "mean": nn.GlobalAvgPool(),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(32, 10),
        }
    )


def trained(digits: Digits, epochs: int, attack: looking.Attack | None = None) -> nn.Sequential:
    """A network that has learnt from the images, or from attacked ones."""
    nn.seed(0)
    model = network()
    batches = nn.Batches(digits.x, digits.y, batch_size=64, shuffle=True)
    data = batches if attack is None else looking.AdversarialBatches(batches, model, attack)
    optimizer = nn.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = nn.CosineAnnealingLR(optimizer, T_max=epochs)
    nn.fit(model, data, nn.CrossEntropyLoss(), optimizer, epochs=epochs, schedule=schedule, progress=False)
    return model


def accuracies(model: nn.Module, digits: Digits) -> list[float]:
    """On the test's images as they are, and attacked ever more strongly."""
    nn.seed(1)
    attacked = (looking.pgd(model, digits.test_x, digits.test_y, radius, steps=10) for radius in RADII)
    return [nn.accuracy(nn.predict(model, x), digits.test_y) for x in attacked]


# Pictures.


def gray(values: np.ndarray) -> np.ndarray:
    """(H, W) from 0 to 1 as (H, W, 3)."""
    return np.repeat(values[..., None], 3, axis=-1)


def heat(values: np.ndarray) -> np.ndarray:
    """(H, W) from 0 to its maximum in colours, (H, W, 3)."""
    places = values / max(float(values.max()), 1e-12) * (len(HEAT) - 1)
    below = np.minimum(places.astype(int), len(HEAT) - 2)
    part = (places - below)[..., None]
    return HEAT[below] * (1 - part) + HEAT[below + 1] * part


def signed(values: np.ndarray, largest: float) -> np.ndarray:
    """(H, W): white at 0, red above and blue below."""
    part = (values / largest).clip(-1, 1)[..., None]
    red, blue = np.array([0.79, 0.19, 0.13]), np.array([0.13, 0.35, 0.73])
    return 1 + part.clip(0) * (red - 1) + (-part).clip(0) * (blue - 1)


class Page:
    """A sheet that is filled from above."""

    def __init__(self, width: int, height: int, title: str, text: str) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.write(MARGIN, MARGIN - 4, title, 22)
        self.write(MARGIN, MARGIN + 28, text, 15, FAINT)

    def write(self, x: int, y: int, text: str, size: int = 15, ink: tuple[int, ...] = INK, anchor: str = "la") -> None:
        self.draw.text((x, y), text, ink, ImageFont.load_default(size), anchor=anchor)

    def show(self, picture: np.ndarray, x: int, y: int, width: int, height: int | None = None) -> None:
        """A picture, its pixels enlarged to squares."""
        image = Image.fromarray((255 * picture.clip(0, 1) + 0.5).astype(np.uint8))
        self.image.paste(image.resize((width, height or width), Image.Resampling.NEAREST), (x, y))


TOP = MARGIN + 62


def filters_page(plain: nn.Module, robust: nn.Module) -> Image.Image:
    """The filters of both first convolutions, and of the second what 12 of them do with the first's 16 maps."""
    first, last = (gray(looking.filters(model, "conv1", columns=8)) for model in (plain, robust))
    second = gray(looking.filters(plain, "conv2"))[: 12 * 4 + 1]
    pictures = (
        ("conv1, trained on images: 16 filters of 5x5", first),
        ("conv1, trained on attacked ones", last),
        ("conv2, trained on images: 12 of 32 filters, one a row; a column for each map of conv1", second),
    )
    width = 784
    heights = [width * picture.shape[0] // picture.shape[1] for _, picture in pictures]
    height = TOP + sum(heights) + 40 * len(pictures) + MARGIN - 16
    page = Page(
        width + 2 * MARGIN, height, "Filters", "Grey is 0, white and black are the largest weights of a filter."
    )
    y = TOP
    for (text, picture), height in zip(pictures, heights, strict=True):
        page.write(MARGIN, y, text, 14, FAINT)
        page.show(picture, MARGIN, y + 24, width, height)
        y += height + 40
    return page.image


def maps_page(model: nn.Module, x: np.ndarray) -> Image.Image:
    """What the layers make of three digits."""
    layers = (("relu1", 16), ("relu2", 32), ("relu3", 32))
    columns, tile = 16, 56
    block = {layer: count // columns * (tile + 4) for layer, count in layers}
    row = sum(block.values()) + 3 * 12
    left = 3 * tile + 72
    width = MARGIN + left + columns * (tile + 4) + MARGIN
    text = "All maps of relu1 (16x16), relu2 and relu3 (8x8); each layer's brightest pixel is white."
    page = Page(width, TOP + len(x) * (row + 24), "Feature maps", text)
    for number, image in enumerate(x):
        y = TOP + number * (row + 24)
        page.show(gray(image[0]), MARGIN, y, 3 * tile)
        for layer, count in layers:
            maps = looking.feature_maps(model, x[number : number + 1], layer)[0]
            page.write(MARGIN + left - 10, y + 4, layer, 13, FAINT, "ra")
            for place in range(count):
                down, across = divmod(place, columns)
                position = MARGIN + left + across * (tile + 4), y + down * (tile + 4)
                page.show(gray(maps[place] / max(float(maps.max()), 1e-12)), *position, tile)
            y += block[layer] + 12
    return page.image


def saliency_page(models: Sequence[tuple[str, nn.Module]], x: np.ndarray) -> Image.Image:
    """Which pixels the answer changes with."""
    height = TOP + (1 + len(models)) * (TILE + GAP + 26) + MARGIN
    text = "How strongly the logit of the network's answer changes with each pixel: its gradient, without the sign."
    page = Page(2 * MARGIN + len(x) * (TILE + GAP) - GAP, height, "Saliency", text)
    y = TOP
    page.write(MARGIN, y, "the images", 14, FAINT)
    for number, image in enumerate(x):
        page.show(gray(image[0]), MARGIN + number * (TILE + GAP), y + 22, TILE)
    for name, model in models:
        y += TILE + GAP + 26
        page.write(MARGIN, y, name, 14, FAINT)
        for number, values in enumerate(looking.saliency(model, x)):
            page.show(heat(values), MARGIN + number * (TILE + GAP), y + 22, TILE)
    return page.image


def grad_cam_page(model: nn.Module, x: np.ndarray) -> Image.Image:
    """Where the network sees what speaks for each of its two likeliest answers."""
    logits = nn.predict(model, x)
    ranked = np.argsort(-logits, axis=1)[:, :2]
    text = "Where conv3's maps speak for the likeliest answer, and for the second; dark: nowhere."
    step = TILE + 56
    page = Page(2 * MARGIN + len(x) * (TILE + GAP) - GAP, TOP + 3 * step + MARGIN - 28, "Grad-CAM", text)
    for row, title in enumerate(("the images", "for the likeliest answer", "for the second")):
        page.write(MARGIN, TOP + row * step - 28 * (row > 0), title, 14, FAINT)
    for number, image in enumerate(x):
        page.show(gray(image[0]), MARGIN + number * (TILE + GAP), TOP + 22, TILE)
    for rank in range(2):
        y = TOP + (rank + 1) * step - 6
        for number, values in enumerate(looking.grad_cam(model, x, "relu3", ranked[:, rank])):
            left = MARGIN + number * (TILE + GAP)
            page.show(0.25 * gray(x[number, 0]) + 0.75 * heat(values), left, y, TILE)
            page.write(left + TILE // 2, y + TILE + 3, str(ranked[number, rank]), 16, INK, "ma")
    return page.image


def adversarial_page(plain: nn.Module, robust: nn.Module, digits: Digits, chosen: Sequence[int]) -> Image.Image:
    """Images, what is added, what comes out and what the networks take it for; and how many answers are right."""
    x, y = digits.test_x[chosen], digits.test_y[chosen]
    nn.seed(1)
    attacked = looking.pgd(plain, x, y, EPSILON, steps=20)
    own = looking.pgd(robust, x, y, EPSILON, steps=20)
    rows = (
        ("the images", [gray(image[0]) for image in x], plain, x),
        (f"what PGD adds, up to {EPSILON}", [signed(change[0], EPSILON) for change in attacked - x], None, x),
        ("attacked: the network's answer", [gray(image[0]) for image in attacked], plain, attacked),
        ("the one trained on attacks, attacked likewise", [gray(image[0]) for image in own], robust, own),
    )
    step, chart = TILE + GAP + 46, 250
    width = 2 * MARGIN + len(x) * (TILE + GAP) - GAP
    text = "Little changes, chosen by the network's own gradient, and other answers."
    page = Page(width, TOP + len(rows) * step + chart + MARGIN, "Adversarial examples", text)
    for number, (title, pictures, model, images) in enumerate(rows):
        top = TOP + number * step
        page.write(MARGIN, top, title, 14, FAINT)
        answers = [None] * len(y) if model is None else nn.predict(model, images).argmax(1)
        for place, (picture, answer, truth) in enumerate(zip(pictures, answers, y, strict=True)):
            left = MARGIN + place * (TILE + GAP)
            page.show(picture, left, top + 22, TILE)
            if answer is not None:
                page.write(left + TILE // 2, top + 24 + TILE, str(answer), 16, INK if answer == truth else WRONG, "ma")
    lines = (
        ("trained on images", accuracies(plain, digits), WRONG),
        ("trained on attacked ones", accuracies(robust, digits), INK),
    )
    draw_chart(page, TOP + len(rows) * step, width, chart, lines)
    return page.image


def draw_chart(
    page: Page, top: int, width: int, height: int, lines: Sequence[tuple[str, list[float], tuple[int, ...]]]
) -> None:
    """How many answers are right, by the strength of the attack."""
    left, right, bottom = MARGIN + 54, width - MARGIN - 12, top + height - 40
    top += 30
    page.write(MARGIN, top - 30, "right answers in the test, attacked by PGD", 14, FAINT)
    for percent in (0, 25, 50, 75, 100):
        y = round(bottom - (bottom - top) * percent / 100)
        page.draw.line((left, y, right, y), (225, 222, 216))
        page.write(left - 8, y, f"{percent} %", 13, FAINT, "rm")
    for number, radius in enumerate(RADII):
        x = left + (right - left) * number // (len(RADII) - 1)
        page.write(x, bottom + 8, f"{radius:g}", 13, FAINT, "ma")
    for name, values, ink in lines:
        points = [
            (left + (right - left) * number // (len(RADII) - 1), round(bottom - (bottom - top) * value))
            for number, value in enumerate(values)
        ]
        page.draw.line(points, ink, 3)
        for x, y in points:
            page.draw.ellipse((x - 4, y - 4, x + 4, y + 4), ink)
        # Where the lines are apart.
        x, y = points[len(points) // 3]
        page.write(x + 14, y - 14, name, 14, ink, "lm")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains a network on digits and writes sheets of what is in it.")
    parser.add_argument("--output", default="looking_in", help="a folder; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    options = parser.parse_args(arguments)
    digits = load()
    plain = trained(digits, options.epochs)
    robust = trained(digits, options.epochs, partial(looking.pgd, epsilon=EPSILON, steps=5))
    for name, model in (("trained on images", plain), ("trained on attacked ones", robust)):
        right = nn.accuracy(nn.predict(model, digits.test_x), digits.test_y)
        nn.seed(1)
        attacked = looking.pgd(model, digits.test_x, digits.test_y, EPSILON)
        print(f"{name}: {right:.1%} right, {nn.accuracy(nn.predict(model, attacked), digits.test_y):.1%} attacked")
    chosen = [int(np.flatnonzero(digits.test_y == digit)[0]) for digit in range(10)]
    x = digits.test_x[chosen]
    pages = {
        "filters": filters_page(plain, robust),
        "feature_maps": maps_page(plain, x[[3, 5, 8]]),
        "saliency": saliency_page((("trained on images", plain), ("trained on attacked ones", robust)), x),
        "grad_cam": grad_cam_page(plain, x),
        "adversarial": adversarial_page(plain, robust, digits, chosen),
    }
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        page.save(folder / f"{name}.png")
    print(f"{folder}: {', '.join(pages)}")


if __name__ == "__main__":
    main()
