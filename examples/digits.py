"""LeNet-5 learns scikit-learn's handwritten digits; prints its accuracy on digits it has not seen, and draws them.

    python examples/digits.py [--output digits.png] [--epochs 40] [--seed 0]

1,797 digits of 8 x 8 pixels lie in the package scikit-learn; one in five is kept for the test. Needs
`pip install ".[examples]"`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastconv import nn

SHOWN = 48


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits to learn from and digits for the test, (number, 1, 32, 32), and their classes, each class in both."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    larger = [ndimage.zoom(image, 28 / 8, order=1, mode="nearest", grid_mode=True) for image in images]
    x = np.pad(np.array(larger), ((0, 0), (2, 2), (2, 2)))[:, None]
    x, x_test, y, y_test = train_test_split(x, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    return x, y, x_test, y_test


def train(x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> tuple[nn.Module, nn.History]:
    """A LeNet-5 that has learned, and how it went."""
    nn.seed(seed)
    model = nn.networks.lenet5()
    transform = nn.RandomAffine(degrees=10, scale=(0.85, 1.15), shift=3)
    data = nn.Batches(x, y, batch_size=16, shuffle=True, transform=transform, prefetch=4, seed=seed)
    optimizer = nn.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * len(data)
    history = nn.fit(
        model,
        data,
        nn.CrossEntropyLoss(label_smoothing=0.05),
        optimizer,
        epochs=epochs,
        metrics={"accuracy": nn.accuracy},
        schedule=nn.warmup_cosine(optimizer, warmup=max(steps // 20, 1), total=max(steps, 2)),
        schedule_by="step",
    )
    return model, history


def draw(path: str, history: nn.History, images: np.ndarray, logits: np.ndarray, y: np.ndarray) -> None:
    """Learning curves, and the digits of the test that the network is least sure of."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.9))
    axes = left.subplots(2, 1, sharex=True)
    for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
        panel.plot(range(1, len(history[name]) + 1), history[name], color="#1f6fb4", marker=".")
        panel.set_ylabel(f"training {name}")
        panel.grid(alpha=0.25)
    axes[1].set_xlabel("epoch")
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    is_right = logits.argmax(1) == y
    right.suptitle(f"accuracy on {len(y)} digits not seen before: {is_right.mean():.2%}; the {SHOWN} least sure of")
    # Wrong ones first, then those whose own class has the least probability.
    order = np.lexsort((p[np.arange(len(y)), y], is_right))
    for panel, number in zip(right.subplots(4, SHOWN // 4).flat, order, strict=False):
        panel.imshow(images[number, 0], cmap="gray_r")
        panel.set_axis_off()
        said, color = logits[number].argmax(), "#333333" if is_right[number] else "#c0261d"
        title = f"{said}" if is_right[number] else f"{said}, not {y[number]}"
        panel.set_title(f"{title}\n{p[number, said]:.0%}", fontsize=8, color=color)
    figure.savefig(path, dpi=120)


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="digits.png")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    x, y, x_test, y_test = load()
    begin = time.perf_counter()
    model, history = train(x, y, chosen.epochs, chosen.seed)
    seconds = time.perf_counter() - begin
    logits = nn.predict(model, x_test)
    print(f"accuracy {nn.accuracy(logits, y_test):.2%} on {len(y_test)} digits, {seconds:.1f} s of training")
    draw(chosen.output, history, x_test, logits, y_test)


if __name__ == "__main__":
    main()
