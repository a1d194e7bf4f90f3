"""A 3-D U-Net learns the tissues of a brain; prints Dice on a part that it has not seen, and draws it.

    python examples/volume.py [--output volume.png] [--steps 800] [--seed 0]

The magnetic resonance volume and its maps of grey and white matter are those of the average of 152 people (ICBM 2009a)
that the package nilearn ships. Noise is added, so that brightness alone does not tell tissues apart. The network learns
from the back of the head and is tested on the front, computed tile by tile with `fastconv.tiled`. Needs
`pip install ".[examples]"`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from matplotlib.figure import Figure
from skimage.filters import gaussian, threshold_multiotsu

import fastconv
from fastconv import nn

TISSUES = ("neither", "grey matter", "white matter")
COLORS = np.array([[0, 0, 0], [0.91, 0.55, 0.20], [0.98, 0.95, 0.80]])
NOISE = 0.12
"""Its standard deviation; white matter is 1."""
CUT = 72
"""Where the second axis is cut: what is learned from lies before, the test behind."""
PIECE, BATCH = 32, 2


def load() -> tuple[np.ndarray, np.ndarray]:
    """The volume at 2 mm, sizes multiples of 4, with noise, and the tissue of each element."""
    package = find_spec("nilearn")
    if package is None or package.origin is None:
        raise SystemExit('the volume lies in the package nilearn: pip install ".[examples]"')
    folder = Path(package.origin).parent / "datasets" / "data"
    volume, grey, white = (
        np.asarray(nibabel.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").dataobj, np.float32)
        for name in ("t1", "gm", "wm")
    )
    halves = [halved(each) for each in (volume, grey, white)]
    volume, grey, white = (each / each.max() for each in halves)
    labels = np.where(np.maximum(grey, white) < 0.5, 0, np.where(grey > white, 1, 2))
    noise = np.random.default_rng(0).standard_normal(volume.shape, np.float32)
    return volume + NOISE * noise, labels


def halved(volume: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 x 2 elements."""
    window = tuple(slice(0, size // 8 * 8) for size in volume.shape)
    return fastconv.avg_pool3d(volume[window][None, None], 2)[0, 0]


class Pieces:
    """Batches of pieces and their tissues, others in every epoch, mirrored by chance."""

    def __init__(self, volume: np.ndarray, labels: np.ndarray, batches: int, seed: int) -> None:
        self.volume, self.labels, self.batches = volume, labels, batches
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(self.batches):
            pairs = [self.piece() for _ in range(BATCH)]
            yield np.stack([x for x, _ in pairs])[:, None], np.stack([target for _, target in pairs])

    def piece(self) -> tuple[np.ndarray, np.ndarray]:
        """A place where there is some of the brain."""
        while True:
            starts = [self.rng.integers(size - PIECE + 1) for size in self.volume.shape]
            place = tuple(slice(start, start + PIECE) for start in starts)
            if (self.labels[place] > 0).mean() > 0.2:
                steps = tuple(slice(None, None, self.rng.choice((-1, 1))) for _ in range(3))
                return self.volume[place][steps], self.labels[place][steps]


def train(volume: np.ndarray, labels: np.ndarray, steps: int, seed: int) -> nn.Module:
    """A network that tells tissues apart."""
    nn.seed(seed)
    model = nn.networks.unet3d(num_classes=len(TISSUES), in_channels=1, width=6, depth=2)
    optimizer = nn.Adam(model.parameters(), lr=5e-3)
    schedule = nn.warmup_cosine(optimizer, warmup=max(steps // 20, 1), total=max(steps, 2))
    pieces = Pieces(volume, labels, max(steps // 10, 1), seed)
    loss = nn.CrossEntropyLoss()
    nn.fit(model, pieces, loss, optimizer, epochs=min(steps, 10), schedule=schedule, schedule_by="step")
    return model


def segmented(model: nn.Module, volume: np.ndarray) -> np.ndarray:
    """The likeliest tissue of each element."""
    field = nn.receptive_field(model, dimensions=3)
    return fastconv.tiled(model, volume[None, None], tile=48, **field._asdict())[0].argmax(axis=0)


def by_thresholds(volume: np.ndarray) -> np.ndarray:
    """What brightness tells once noise is smoothed: thresholds by Otsu's method."""
    smooth = gaussian(volume, 0.7)
    return np.digitize(smooth, threshold_multiotsu(smooth, len(TISSUES)))


def dice(labels: np.ndarray, found: np.ndarray) -> list[float]:
    """For grey and white matter: twice what both have, for the sum of what each has."""
    pairs = [(labels == tissue, found == tissue) for tissue in range(1, len(TISSUES))]
    return [float(2 * (own & other).sum() / max(own.sum() + other.sum(), 1)) for own, other in pairs]


def draw(path: str, volume: np.ndarray, panels: dict[str, np.ndarray]) -> None:
    """Three cuts through the part of the test: the volume, and tissues."""
    figure = Figure(figsize=(3.4 * (len(panels) + 1), 4.9), layout="constrained")
    levels = [volume.shape[2] * part // 20 for part in (7, 10, 13)]
    for row, level in zip(figure.subplots(len(levels), len(panels) + 1), levels, strict=True):
        row[0].imshow(volume[:, :, level].T, cmap="gray", origin="lower", vmin=0, vmax=1)
        row[0].set_title("with noise" if level == levels[0] else "", fontsize=11)
        for panel, (title, labels) in zip(row[1:], panels.items(), strict=True):
            panel.imshow(COLORS[labels[:, :, level].T], origin="lower")
            panel.set_title(title if level == levels[0] else "", fontsize=11)
        for panel in row:
            panel.set_axis_off()
    figure.savefig(path, dpi=120)


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="volume.png")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    volume, labels = load()
    begin = time.perf_counter()
    model = train(volume[:, :CUT], labels[:, :CUT], chosen.steps, chosen.seed)
    seconds = time.perf_counter() - begin
    volume, labels = volume[:, CUT:], labels[:, CUT:]
    found, classical = segmented(model, volume), by_thresholds(volume)
    ours, theirs = dice(labels, found), dice(labels, classical)
    for tissue, own, other in zip(TISSUES[1:], ours, theirs, strict=True):
        print(f"Dice of {tissue}: {own:.3f} by the network, {other:.3f} by thresholds")
    print(f"{seconds:.1f} s of training")
    panels = {
        f"thresholds, Dice {theirs[0]:.2f}, {theirs[1]:.2f}": classical,
        f"U-Net, Dice {ours[0]:.2f}, {ours[1]:.2f}": found,
        "atlas: grey and white matter": labels,
    }
    draw(chosen.output, volume, panels)


if __name__ == "__main__":
    main()
