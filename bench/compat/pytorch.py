"""``fastconv.compat.torch`` beside torch: microseconds of one small call, whole networks, training steps.

Each network runs as torch has it and accelerated, in both memory formats, the two in turn in one process.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import fastconv
from fastconv.nn import networks

from ..timing import Entrant, contest, ratio, settling

NETWORKS = {"inference": ("mobilenet_v2", "resnet18"), "training": ("resnet18", "mobilenet_v2")}
BATCHES = {"inference": (1, 8), "training": (8,)}
SECONDS = {"inference": 1.5, "training": 4.0}
SIDE = 224
CLASSES = 1000
SAME = 1e-3
"""Results that differ by more, relative to the largest, are of two networks."""

Row = dict[str, Any]


def rows(threads: int) -> Iterator[Row]:
    """What is measured on so many threads, one row at a time."""
    import torch

    torch.set_num_threads(threads)
    fastconv.set_num_threads(threads)
    if threads == 1:
        yield overhead()
    for task in ("inference", "training"):
        for name in NETWORKS[task]:
            for batch in BATCHES[task]:
                for memory_format in ("contiguous", "channels_last"):
                    yield network(task, name, threads, batch, memory_format)


def overhead() -> Row:
    """Seconds of a convolution that has next to nothing to compute, by the function alone and by a module."""
    import torch

    from fastconv.compat.torch import accelerate, installed

    module = accelerate(torch.nn.Conv2d(4, 4, 1))
    own = torch.nn.Conv2d(4, 4, 1)
    x = torch.randn(1, 4, 6, 6)
    image: Any = x.numpy()
    weight, bias = (each.detach().numpy() for each in module.parameters())

    def in_training(module: Any) -> Callable[[], Any]:
        return lambda: module(x)

    def in_inference(module: Any) -> Callable[[], Any]:
        def run() -> Any:
            with torch.no_grad():
                return module(x)

        return run

    entrants = {
        "function": Entrant(lambda: fastconv.conv2d(image, weight, bias, (1, 1), (0, 0), (1, 1), 1)),
        "module": Entrant(in_inference(module)),
        "module, for a gradient": Entrant(in_training(module)),
        "torch's module": Entrant(in_inference(own)),
        "torch's module, for a gradient": Entrant(in_training(own)),
    }
    contest(list(entrants.values()), 2.0, 0.0)
    with installed():
        entrants["torch's module, installed"] = Entrant(in_inference(own))
        contest([entrants["torch's module, installed"]], 0.5, 0.0)
    seconds = {who: entrant.seconds for who, entrant in entrants.items()}
    return {"problem": "overhead", "threads": 1, "seconds": seconds}


def network(task: str, name: str, threads: int, batch: int, memory_format: str) -> Row:
    """Times of a network as torch has it and accelerated. ValueError where they do not compute the same."""
    import torch

    from fastconv.compat.torch import accelerate

    from ..networks.in_torch import in_torch

    torch.manual_seed(0)
    x = torch.randn(batch, 3, SIDE, SIDE)
    own = in_torch(getattr(networks, name)())
    if memory_format == "channels_last":
        own, x = (each.to(memory_format=torch.channels_last) for each in (own, x))
    runs = {who: _step(model, x, task) for who, model in (("torch", own), ("fastconv", accelerate(copy.deepcopy(own))))}
    found = []
    for run in runs.values():
        torch.manual_seed(0)  # dropout
        found.append(run())
    first, second = found
    if not float((first - second).abs().max()) <= SAME * float(first.abs().max()):
        raise ValueError(f"{name}: the results of torch and of the accelerated network differ")
    entrants = {who: Entrant(run) for who, run in runs.items()}
    contest(list(entrants.values()), SECONDS[task], settling(threads))
    return {
        "problem": f"{task} {name} {batch} {memory_format}",
        "threads": threads,
        "seconds": {who: entrant.seconds for who, entrant in entrants.items()},
        "ratio": ratio(entrants["torch"], entrants["fastconv"]),
        "rounds": entrants["fastconv"].rounds,
    }


def _step(model: Any, x: Any, task: str) -> Callable[[], Any]:
    """Inference, or forward, backward and SGD with momentum; what a run returns can be compared."""
    import torch

    if task == "inference":
        model.eval()

        def infer() -> Any:
            with torch.inference_mode():
                return model(x)

        return infer
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    labels = torch.arange(len(x)) % CLASSES

    def train() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train
