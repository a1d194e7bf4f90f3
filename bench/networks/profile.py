"""Where the time of a training step goes: by kind of layer and pass, beside the least time of the convolutions."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastconv
from fastconv import ConvProblem, grad, nn

from ..machine import measure_roofline
from .step import network, own_step

STEPS = 5
WEIGHT_PASSES = ("conv2d_weight",)


class Clock:
    """Seconds by name, of what is measured within one another only once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within = 0.0

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Measure a block."""
        outer, self._within = self._within, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] += spent - self._within
            self._within = outer + spent

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """Measure a function of an object from now on."""
        function = getattr(owner, attribute)

        def measured(*arguments: Any, **options: Any) -> Any:
            with self.of(name):
                return function(*arguments, **options)

        setattr(owner, attribute, measured)


def profile(name: str, count: int) -> dict[str, float]:
    """Milliseconds of a step by layer and pass; "roofline": the least that its convolutions can take."""
    model, clock = network(name), Clock()
    problems: list[ConvProblem] = []
    for module in model.modules():
        if not list(module.named_children()) or isinstance(module, nn.Residual):
            clock.watch(module, "forward", f"{type(module).__name__} forward")
            clock.watch(module, "backward", f"{type(module).__name__} backward")
    step = own_step(model, count)
    step()
    kept = {each: getattr(grad, each) for each in WEIGHT_PASSES}
    try:
        for each in WEIGHT_PASSES:
            clock.watch(grad, each, "Conv2d weight gradient")
        clock.seconds.clear()
        with clock.of("rest: loss, optimizer, sums"):
            for _ in range(STEPS):
                step()
    finally:
        for each, function in kept.items():
            setattr(grad, each, function)
    found = {key: seconds / STEPS * 1e3 for key, seconds in clock.seconds.items()}
    problems = list(convolutions(model, count))
    roofline = measure_roofline("float32", fastconv.get_num_threads())
    found["roofline"] = 1e3 * sum(roofline.seconds(problem) for problem in problems)
    return found


def convolutions(model: nn.Module, count: int) -> Iterator[ConvProblem]:
    """The problems of a step: forward and both gradients of every convolution, but for that of the images."""
    from .step import batch_of

    shapes: list[tuple[Any, tuple[int, ...]]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = _noting(module, shapes)  # type: ignore[method-assign]
    model(batch_of(count)[0])
    for number, (layer, shape) in enumerate(shapes):
        padding = "x".join(map(str, layer.padding))
        text = (
            f"{'x'.join(map(str, shape))} {'x'.join(map(str, layer.weight.shape))} s{'x'.join(map(str, layer.stride))}"
        )
        text += f" p{padding} g{layer.groups} float32"
        for direction in ("forward", "backward_input", "backward_weight"):
            if number or direction != "backward_input":
                yield ConvProblem.parse(f"{direction} {text}")


def _noting(layer: Any, shapes: list[tuple[Any, tuple[int, ...]]]) -> Any:
    forward = layer.forward

    def noted(x: Any) -> Any:
        shapes.append((layer, x.shape))
        return forward(x)

    return noted


def rows_of(found: dict[str, float]) -> list[str]:
    """Lines to print, the longest first."""
    total = sum(value for name, value in found.items() if name != "roofline")
    lines = [
        f"    {value:7.1f} ms {value / total:4.0%}  {name}"
        for name, value in sorted(found.items(), key=lambda item: -item[1])
        if name != "roofline" and value >= total / 1000
    ]
    note = "the convolutions' multiply-adds and bytes at the machine's peak rates"
    return [*lines, f"    {total:7.1f} ms       in all; {found['roofline']:.1f} ms: {note}"]
