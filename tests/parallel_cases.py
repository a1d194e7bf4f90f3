"""Programs that the ranks of tests/test_nn_parallel.py run: ``mpirun -n 2 python parallel_cases.py CASE FOLDER``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv import nn

fastconv.set_num_threads(1)
STEPS = 6


def network(kind: str = "plain") -> nn.Module:
    """A small one in double precision."""
    norm = [nn.BatchNorm2d(4)] if kind == "norm" else []
    shared = nn.Conv2d(4, 4, 3, padding=1)
    twice = [shared, nn.ReLU(), shared] if kind == "shared" else [shared]
    layers = [nn.Conv2d(2, 4, 3), *norm, nn.ReLU(), *twice, nn.Flatten(), nn.Linear(4 * 36, 3)]
    model = nn.Sequential(*layers).astype(np.float64)
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape) / 5
    return model


def data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((count, 2, 8, 8)), rng.integers(0, 3, count)


def batches(count: int = 40, size: int = 12) -> nn.Batches:
    """Uneven: 12, 12, 12 and 4; of 41 and 12, the last has 5, which two ranks share as 3 and 2."""
    return nn.Batches(*data(count), batch_size=size, shuffle=True, seed=3)


def optimizer_of(model: nn.Module) -> nn.Optimizer:
    return nn.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)


def train(model: nn.Module, given: Any, optimizer: nn.Optimizer, steps: int = STEPS, take: Any = None) -> None:
    """Steps over and over the batches."""
    loss, done = nn.CrossEntropyLoss(), 0
    model.train()
    while True:
        for x, target in given:
            if done == steps:
                return
            model.zero_grad()
            loss(model(x), target)
            model.backward(loss.backward(), wants_dx=False)
            (take or optimizer.step)()
            done += 1


def write(model: nn.Module, folder: Path, rank: int) -> None:
    np.savez(folder / f"rank{rank}.npz", **model.state_dict())


def steps(folder: Path, kind: str, count: str = "40") -> None:
    model = network(kind)
    rank = nn.parallel.rank()
    if rank:  # rank 0 gives its own
        for parameter in model.parameters():
            parameter.data[...] = 7
    optimizer = optimizer_of(model)
    with nn.parallel.DataParallel(model, optimizer, bucket_bytes=2000) as ranks:
        train(model, ranks.share(batches(int(count))), optimizer, take=ranks.step)
    write(model, folder, rank)


def fit(folder: Path, precision: str = "") -> None:
    model = network()
    if precision:
        model.astype(np.float32)
    optimizer = optimizer_of(model)
    with nn.parallel.DataParallel(model, optimizer, bucket_bytes=2000) as ranks:
        history = nn.fit(
            model,
            ranks.share(batches(41)),
            nn.CrossEntropyLoss(),
            optimizer,
            epochs=2,
            max_norm=0.5,
            precision=precision or None,
            callbacks=[ranks],
            progress=False,
        )
    write(model, folder, ranks.rank)
    (folder / f"loss{ranks.rank}").write_text(repr(history["loss"]))


def accumulate(folder: Path) -> None:
    """Two backwards a step."""
    model, loss = network("shared"), nn.CrossEntropyLoss()
    optimizer = optimizer_of(model)
    x, target = data()
    with nn.parallel.DataParallel(model, optimizer, bucket_bytes=2000) as ranks:
        mine, wanted = nn.parallel.shard(x, target)
        for _ in range(4):
            model.zero_grad()
            with ranks.accumulating():
                loss(model(mine[:10]), wanted[:10])
                model.backward(loss.backward(), wants_dx=False)
            loss(model(mine[10:]), wanted[10:])
            model.backward(loss.backward(), wants_dx=False)
            ranks.step()
    write(model, folder, ranks.rank)


def overlap(folder: Path) -> None:
    """When buckets are sent: all but the last before wait, from the second step on, the last layer's first."""
    model, loss = network(), nn.CrossEntropyLoss()
    x, target = nn.parallel.shard(*data())
    with nn.parallel.DataParallel(model, optimizer_of(model), bucket_bytes=1) as ranks:
        for step in range(3):
            model.zero_grad()
            loss(model(x), target)
            model.backward(loss.backward(), wants_dx=False)
            sent, there = len(ranks._requests), len(ranks._buckets)
            assert (sent, there) == ((0, 0) if step == 0 else (6, 6)), (step, sent, there)
            ranks.step()
            assert ranks._buckets[0].parameters[0] in list(model.parameters())[-2:]
            pairs = [pair for b in ranks._buckets for pair in zip(b.parameters, b.parts, strict=True)]
            assert all(np.shares_memory(parameter.grad, part) for parameter, part in pairs)
    write(model, folder, ranks.rank)


def unused(folder: Path) -> None:
    """Layers that a rank does not use: what no rank uses stays as it is, what one uses moves on all."""
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3))).astype(np.float64)
    rank = nn.parallel.rank()
    with nn.parallel.DataParallel(model, nn.SGD(model.parameters(), lr=0.1, weight_decay=0.1), bucket_bytes=1) as ranks:
        before = [parameter.data.copy() for parameter in model.parameters()]
        for _ in range(3):
            model.zero_grad()
            for layer in list(model)[:1] if rank == 0 else list(model)[:2]:
                layer.backward(layer(np.ones((1, 3))))
            ranks.step()
        moved = [bool((a != p.data).any()) for a, p in zip(before, model.parameters(), strict=True)]
        assert moved == [True, True, False], moved
    write(model, folder, rank)


def forever(folder: Path) -> None:
    """Steps until somebody ends it; each rank says its process and how far it is."""
    model = network()
    optimizer = optimizer_of(model)
    rank = nn.parallel.rank()
    with nn.parallel.DataParallel(model, optimizer, checkpoint=folder / "rescued.safetensors") as ranks:

        def take() -> None:
            ranks.step()
            if ranks.steps == 20:
                (folder / f"pid{rank}.partial").write_text(str(os.getpid()))
                (folder / f"pid{rank}.partial").rename(folder / f"pid{rank}")
            time.sleep(0.005)

        train(model, ranks.share(batches()), optimizer, steps=10**9, take=take)


def raises(folder: Path) -> None:
    model = network()
    optimizer = optimizer_of(model)
    with nn.parallel.DataParallel(model, optimizer, checkpoint=folder / "rescued.safetensors") as ranks:

        def take() -> None:
            if ranks.rank == 1 and ranks.steps == 4:
                raise ZeroDivisionError("planted")
            ranks.step()

        train(model, ranks.share(batches()), optimizer, steps=10**9, take=take)


def unequal(folder: Path) -> None:
    model = network()
    optimizer = optimizer_of(model)
    with nn.parallel.DataParallel(model, optimizer, checkpoint=folder / "rescued.safetensors") as ranks:
        train(model, ranks.share(batches()), optimizer, steps=3 + ranks.rank, take=ranks.step)


def other(folder: Path) -> None:
    with nn.parallel.DataParallel(network("norm" if nn.parallel.rank() else "plain")):
        pass


def resume(folder: Path) -> None:
    model = network("norm")
    optimizer = optimizer_of(model)
    path = folder / "every.safetensors"
    if (folder / "rank0.npz").exists():
        with nn.parallel.DataParallel(model, optimizer) as ranks:
            ranks.load(path)
            assert ranks.steps == 4
            train(model, ranks.share(batches(size=40)), optimizer, steps=2, take=ranks.step)
        write(model, folder, ranks.rank + 10)
        return
    with nn.parallel.DataParallel(model, optimizer, checkpoint=path, checkpoint_every=4) as ranks:
        train(model, ranks.share(batches(size=40)), optimizer, steps=6, take=ranks.step)
    write(model, folder, ranks.rank)


CASES = {
    case.__name__: case for case in (steps, fit, accumulate, overlap, unused, forever, raises, unequal, other, resume)
}

if __name__ == "__main__":
    CASES[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
