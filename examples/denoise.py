"""A U-Net learns to take noise off photographs; prints its PSNR on one that it has not seen, and draws it.

    python examples/denoise.py [--output denoise.png] [--steps 1600] [--seed 0]

It learns from pieces of four photographs that lie in the package scikit-image, and is tested on a fifth, computed tile
by tile with `fastconv.tiled`. Needs `pip install ".[examples]"`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from skimage import data, restoration

import fastconv
from fastconv import nn

SIGMA = 25 / 255
"""Of the noise."""
PIECE, BATCH = 64, 8
DETAIL = (slice(70, 230), slice(150, 310))


def photographs() -> tuple[list[np.ndarray], np.ndarray]:
    """Photographs to learn from, and one for the test, (3, height, width), from 0 to 1."""
    pictures = [data.coffee(), data.chelsea(), data.rocket(), data.retina()[::2, ::2], data.astronaut()]
    *learned, kept = (np.moveaxis(picture, -1, 0).astype(np.float32) / 255 for picture in pictures)
    return learned, kept


class Pieces:
    """Batches of noisy pieces of photographs and the noise that is on them, others in every epoch."""

    def __init__(self, photos: list[np.ndarray], batches: int, seed: int) -> None:
        self.photos, self.batches = photos, batches
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(self.batches):
            clean = np.stack([self.piece() for _ in range(BATCH)])
            noise = SIGMA * self.rng.standard_normal(clean.shape, np.float32)
            yield clean + noise, noise

    def piece(self) -> np.ndarray:
        """A place of a photograph, mirrored and turned by chance."""
        photo = self.photos[self.rng.integers(len(self.photos))]
        y, x = (self.rng.integers(size - PIECE) for size in photo.shape[1:])
        piece = photo[:, y : y + PIECE, x : x + PIECE]
        return np.rot90(piece[:, :, :: self.rng.choice((-1, 1))], self.rng.integers(4), axes=(1, 2))


def train(photos: list[np.ndarray], steps: int, seed: int) -> nn.Module:
    """A network that returns the noise on what it is given."""
    nn.seed(seed)
    model = nn.networks.unet(num_classes=3, in_channels=3, width=16, depth=2)
    # It begins with the answer that there is no noise.
    model.classes.weight.data[...] = 0
    optimizer = nn.Adam(model.parameters(), lr=2e-3)
    schedule = nn.warmup_cosine(optimizer, warmup=max(steps // 20, 1), total=max(steps, 2))
    pieces = Pieces(photos, max(steps // 10, 1), seed)
    nn.fit(model, pieces, nn.MSELoss(), optimizer, epochs=min(steps, 10), schedule=schedule, schedule_by="step")
    return model


def denoised(model: nn.Module, noisy: np.ndarray) -> np.ndarray:
    """The photograph without what the network takes for noise."""
    noise = fastconv.tiled(model, noisy[None], tile=128, **nn.receptive_field(model)._asdict())[0]
    return (noisy - noise).clip(0, 1)


def psnr(clean: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise, in dB."""
    return float(-10 * np.log10(np.mean((clean - other) ** 2)))


def draw(path: str, panels: dict[str, np.ndarray]) -> None:
    """The photographs, and below a part of each in detail."""
    figure = Figure(figsize=(3.4 * len(panels), 7.2), layout="constrained")
    rows = figure.subplots(2, len(panels))
    for (title, picture), whole, part in zip(panels.items(), rows[0], rows[1], strict=True):
        pixels = np.moveaxis(picture.clip(0, 1), 0, -1)
        whole.imshow(pixels)
        whole.set_title(title, fontsize=11)
        part.imshow(pixels[DETAIL], interpolation="nearest")
        for panel in (whole, part):
            panel.set_axis_off()
    figure.savefig(path, dpi=120)


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="denoise.png")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    learned, clean = photographs()
    begin = time.perf_counter()
    model = train(learned, chosen.steps, chosen.seed)
    seconds = time.perf_counter() - begin
    noisy = clean + SIGMA * np.random.default_rng(1).standard_normal(clean.shape, np.float32)
    result = denoised(model, noisy)
    # The best of a classical method, its weight chosen with the answer in sight.
    weights = (0.05, 0.075, 0.1, 0.15)
    smooth = max(
        (restoration.denoise_tv_chambolle(noisy, weight, channel_axis=0) for weight in weights),
        key=lambda other: psnr(clean, other),
    )
    before, classical, after = (psnr(clean, each) for each in (noisy, smooth, result))
    print(
        f"PSNR {before:.1f} dB with noise, {classical:.1f} dB by total variation, {after:.1f} dB by the network, ",
        end="",
    )
    print(f"{seconds:.1f} s of training")
    panels = {
        f"with noise, {before:.1f} dB": noisy,
        f"total variation, {classical:.1f} dB": smooth,
        f"U-Net, {after:.1f} dB": result,
        "the photograph": clean,
    }
    draw(chosen.output, panels)


if __name__ == "__main__":
    main()
