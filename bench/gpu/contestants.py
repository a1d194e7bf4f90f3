"""Who computes a case: fastconv, fastconv with packed weights, torch in both memory formats, cuBLAS."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import fastconv
from fastconv._problem import RESULT
from fastconv.planning import PlannedConvolution

from ..case import Case
from ..peers.fastconv import chosen, settings_of, user_array
from ..peers.torch import TensorForm
from .ceilings import CUDA_TYPES, product
from .clock import Clock

Call = Callable[[], Any]


class Contestant:
    """Base class. Everything runs on the clock's stream."""

    name: str
    is_rival = False
    """Whether it counts among the best of the others."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def refusal(self, case: Any) -> str:
        """Why it does not compute the case; empty where it does."""
        return ""

    def call(self, case: Any) -> Call:
        """What computes the case once."""
        raise NotImplementedError

    def array(self, case: Any, result: Any) -> Any:
        """What a call returned, as a CuPy array with the case's canonical axes; None where it is another result."""
        raise NotImplementedError

    def graph(self, calls: Sequence[Call]) -> Callable[[], None]:
        """One launch of several calls, each of which has run before; it keeps their arrays."""
        return self.clock.graph(calls)

    def note(self, case: Any) -> str:
        """How it computes, where that is known."""
        return ""


class Fastconv(Contestant):
    """A planned call into an array that is there, its weights as they are."""

    name = "fastconv"
    packs = False

    def refusal(self, case: Case) -> str:
        return "no weights to pack" if self.packs and case.problem.direction == "backward_weight" else ""

    def call(self, case: Case) -> Call:
        planned, problem = _planned(case), case.problem
        x, dy = (user_array(case, array) for array in (case.x, case.dy))
        if problem.direction == "backward_weight":
            return functools.partial(planned, x, dy, out=case.w)
        weight = planned.pack(case.w) if self.packs else case.w
        first, result = (x, dy) if problem.direction == "forward" else (dy, x)
        return functools.partial(planned, first, weight, case.operands.bias, out=result)

    def array(self, case: Case, result: Any) -> Any:
        return getattr(case.operands, RESULT[case.problem.direction])

    def note(self, case: Case) -> str:
        return chosen(_planned(case))


class FastconvPacked(Fastconv):
    """The same with weights that were packed before."""

    name = "packed"
    packs = True


def _planned(case: Case) -> PlannedConvolution:
    settings = {**settings_of(case, "auto"), "direction": case.problem.direction, "backend": "gpu"}
    x_shape = user_array(case, case.x).shape
    return fastconv.plan(f"conv{case.rank}d", x_shape, case.w.shape, case.problem.dtype, **settings)


class Cublas(Contestant):
    """The product of matrices of a convolution's size: what would remain of it were there no taps to gather."""

    name = "cublas"

    def refusal(self, case: Case) -> str:
        problem = case.problem
        if problem.groups > 1:
            return "groups are products of their own"
        return "" if problem.dtype in CUDA_TYPES else f"not of {problem.dtype}"

    def call(self, case: Case) -> Call:
        cp, problem = self.clock.cp, case.problem
        pixels = problem.batch * int(np.prod(problem.output_size))
        taps = problem.in_channels * int(np.prod(problem.kernel_size))
        sizes = {
            "forward": (problem.out_channels, taps, pixels),
            "backward_input": (taps, problem.out_channels, pixels),
            "backward_weight": (problem.out_channels, pixels, taps),
        }
        rows, inner, columns = sizes[problem.direction]
        dtype = case.operands.input.dtype
        a, b, out = (cp.ones(shape, dtype) for shape in ((rows, inner), (inner, columns), (rows, columns)))
        return product(cp, a, b, out, problem.precision)

    def array(self, case: Case, result: Any) -> Any:
        return None


class Torch(Contestant):
    """torch with cudnn.benchmark, in one memory format, on tensors of the same memory or converted before."""

    is_rival = True

    def __init__(self, clock: Clock, torch: Any, channels_last: bool) -> None:
        super().__init__(clock)
        self.name = "torch channels_last" if channels_last else "torch contiguous"
        self._torch, self._channels_last = torch, channels_last
        self._stream = torch.cuda.ExternalStream(clock.stream.ptr)

    def refusal(self, case: Case) -> str:
        problem = case.problem
        return "one channel" if self._channels_last and problem.in_channels == problem.out_channels == 1 else ""

    def _on_stream(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._torch.cuda.stream(self._stream)
        return context

    def call(self, case: Case) -> Call:
        torch, problem = self._torch, case.problem
        form = TensorForm(case, self._channels_last)
        with self._on_stream():
            x, w, dy = (form.of(self._tensor(array)) for array in (case.x, case.w, case.dy))
            bias = None if case.operands.bias is None else self._tensor(case.operands.bias)
        run, allow = form.call(x, w, dy, bias), problem.precision == "medium"

        def call() -> Any:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allow
            with torch.inference_mode(), self._on_stream():
                return run()

        return call

    def _tensor(self, array: Any) -> Any:
        torch = self._torch
        if array.dtype.name == "bfloat16":  # the interface of CUDA arrays does not know it
            return torch.as_tensor(array.view(np.int16), device="cuda").view(torch.bfloat16)
        return torch.as_tensor(array, device="cuda")

    def array(self, case: Case, result: Any) -> Any:
        with self._on_stream():
            plain = TensorForm(case, self._channels_last).without_row(result).float()
        leading = (slice(None), slice(None)) + (None,) * (3 - case.rank)
        return self.clock.cp.asarray(plain)[leading]

    def graph(self, calls: Sequence[Call]) -> Callable[[], None]:
        graph, kept = self._torch.cuda.CUDAGraph(), tuple(calls)
        with self._torch.cuda.graph(graph, stream=self._stream):
            for call in kept:
                call()

        def replay() -> None:
            assert kept
            with self._on_stream():
                graph.replay()

        return replay

    def kernels(self, call: Call) -> list[str]:
        """The names of the kernels that a call starts."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            self.clock.run(call)
        return [event.key for event in profiled.key_averages()]


def contestants(clock: Clock, torch: Any) -> list[Contestant]:
    """All that there are; the first is what the others are compared with."""
    rivals = [] if torch is None else [Torch(clock, torch, last) for last in (False, True)]
    return [Fastconv(clock), FastconvPacked(clock), Cublas(clock), *rivals]
