"""PyTorch's time for a problem, to be set beside ours: the call that its user would make, on the same data."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .._backend import CPU, Backend
from .._choose.sample import sample
from .._late import late
from .._problem import ConvProblem
from .._timing import repeats_of, seconds_of

NAMES = ("torch",)
LEAST_SAMPLES, MOST_SAMPLES = 3, 30
SECONDS = 0.2
"""Samples are taken for so long."""


class Torch:
    """PyTorch with as many threads, on the same kind of device.

    Raises
    ------
    ValueError
        Where it is not installed, or sees no GPU that it is to be timed on.
    """

    def __init__(self, threads: int, backend: Backend) -> None:
        if importlib.util.find_spec("torch") is None:
            raise ValueError("--against: PyTorch is not installed; pip install torch")
        self._torch: Any = late("torch")
        self._device = "cpu" if backend is CPU else "cuda"
        if self._device == "cuda" and not self._torch.cuda.is_available():
            raise ValueError("--against: this PyTorch sees no CUDA device")
        self._torch.set_num_threads(threads)

    def seconds(self, problem: ConvProblem) -> float | None:
        """Median time of a call; None where PyTorch does not compute the problem, or lacks memory for it."""
        if problem.dtype == "int8":
            return None  # its sums of 16-bit integers overflow
        try:
            call = self._call(problem)
            with self._torch.inference_mode():
                self._seconds_of(call, 1)
                return self._median(call)
        except (RuntimeError, TypeError, ValueError):  # a dtype that it does not convolve, or memory that it lacks
            return None

    def _median(self, call: Callable[[], object]) -> float:
        repeats, start = repeats_of(self._seconds_of(call, 1)), time.monotonic()
        samples: list[float] = []
        while len(samples) < LEAST_SAMPLES or (len(samples) < MOST_SAMPLES and time.monotonic() - start < SECONDS):
            samples.append(self._seconds_of(call, repeats))
        return statistics.median(samples)

    def _seconds_of(self, call: Callable[[], object], repeats: int) -> float:
        if self._device == "cpu":
            return seconds_of(call, repeats)
        self._torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self._torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats

    def _tensor(self, array: np.ndarray, problem: ConvProblem, rank: int) -> Any:
        """A canonical array as a tensor that lies in memory as the problem says."""
        array = np.ascontiguousarray(array[(slice(None), slice(None)) + (0,) * (3 - rank)])
        if problem.dtype == "bfloat16":
            tensor = self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        else:
            tensor = self._torch.from_numpy(array)
        tensor = tensor.to(self._device)
        formats = {4: self._torch.channels_last, 5: self._torch.channels_last_3d}
        if problem.layout == "channels_last" and tensor.dim() in formats:
            return tensor.contiguous(memory_format=formats[tensor.dim()])
        return tensor

    def _call(self, problem: ConvProblem) -> Callable[[], object]:
        rank = rank_of(problem)
        operands = sample(problem)
        x, w, y = (self._tensor(array, problem, rank) for array in (operands.input, operands.weight, operands.output))
        stride, dilation, pairs = problem.stride[3 - rank :], problem.dilation[3 - rank :], problem.padding[3 - rank :]
        functional, backward = self._torch.nn.functional, self._torch.ops.aten.convolution_backward
        convolve = getattr(functional, f"conv{rank}d")
        padding, uneven = tuple(before for before, _ in pairs), [n for pair in reversed(pairs) for n in pair]
        is_even = all(before == after >= 0 for before, after in pairs)
        if not is_even:
            # As its user has to: pad first, convolve without padding. The gradient of padding is cropping.
            padding = (0,) * rank
        prepared: Callable[[], Any] = (lambda: x) if is_even else (lambda: functional.pad(x, uneven))
        settings = stride, padding, dilation
        if problem.direction == "forward":
            return lambda: convolve(prepared(), w, None, *settings, problem.groups)
        rest = w, None, *settings, False, (0,) * rank, problem.groups
        if problem.direction == "backward_weight":
            return lambda: backward(y, prepared(), *rest, (False, True, False))[1]
        padded = prepared()
        if is_even:
            return lambda: backward(y, padded, *rest, (True, False, False))[0]
        crop = [-n for n in uneven]
        return lambda: functional.pad(backward(y, padded, *rest, (True, False, False))[0], crop)


def rank_of(problem: ConvProblem) -> int:
    """Spatial axes of the problem's text; 2 for a single pixel, as in networks."""
    return 2 if problem.input_size == (1, 1, 1) else str(problem).split()[1].count("x") - 1
