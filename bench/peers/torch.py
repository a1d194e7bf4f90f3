"""PyTorch: conv1d to conv3d, and convolution_backward for one gradient at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..case import Case
from .peer import Peer, Prepared


class Torch(Peer):
    """In the problem's layout (NHWC is channels_last), or in the other one, given in that layout from the start."""

    modules = ("torch",)
    distributions = ("torch",)
    has_epilogues = True

    def __init__(self, other_layout: bool = False) -> None:
        self.name = "torch other layout" if other_layout else "torch"
        self.is_rival = not other_layout
        self._other_layout = other_layout

    def refusal(self, case: Case) -> str:
        return ""

    def prepare(self, case: Case) -> Prepared:
        import torch

        torch.set_num_threads(case.threads)
        form = TensorForm(case, case.is_channels_last != self._other_layout)

        def tensor(array: np.ndarray) -> Any:
            if array.dtype.name == "bfloat16":
                return form.of(torch.from_numpy(array.view(np.int16)).view(torch.bfloat16))
            return form.of(torch.from_numpy(array))

        def array(result: Any) -> np.ndarray:
            result = form.without_row(result)
            return (result.float() if result.dtype == torch.bfloat16 else result).numpy()

        bias = None if case.bias is None else torch.from_numpy(case.bias)
        run = form.call(tensor(case.x), tensor(case.w), tensor(case.dy), bias)

        def without_gradients() -> Any:
            with torch.inference_mode():
                return run().relu_() if case.has_relu else run()

        return Prepared(without_gradients, array)


class TensorForm:
    """How a case's arrays lie as tensors: contiguous, or channels last.

    There is no channels_last of three-dimensional tensors: a signal is an image of one row then.
    """

    def __init__(self, case: Case, channels_last: bool) -> None:
        import torch

        self._case, self._has_row = case, channels_last and case.rank == 1
        formats = {2: torch.channels_last, 3: torch.channels_last_3d}
        self._format = formats[max(case.rank, 2)] if channels_last else torch.contiguous_format

    def of(self, tensor: Any) -> Any:
        """A tensor with the axes of the case's x, w or dy, in this form."""
        return (tensor[:, :, None] if self._has_row else tensor).contiguous(memory_format=self._format)

    def without_row(self, tensor: Any) -> Any:
        """A result with the axes that the case has."""
        return tensor[:, :, 0] if self._has_row else tensor

    def call(self, x: Any, w: Any, dy: Any, bias: Any = None) -> Callable[[], Any]:
        """What computes the case on tensors of this form."""
        case = self._case
        lead_one, lead_pair = ((1,), ((0, 0),)) if self._has_row else ((), ())
        padding: tuple[tuple[int, int], ...] = lead_pair + case.padding
        return _call(case, x, w, dy, bias, lead_one + case.stride, padding, lead_one + case.dilation)


def _call(
    case: Case,
    x: Any,
    w: Any,
    dy: Any,
    bias: Any,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
) -> Callable[[], Any]:
    import torch

    functional: Any = torch.nn.functional
    groups, rank = case.problem.groups, x.dim() - 2
    convolve = getattr(functional, f"conv{rank}d")
    backward = torch.ops.aten.convolution_backward
    even = tuple(before for before, _ in padding)
    transposed_padding = (0,) * rank
    if not case.is_evenly_padded:
        # As a user has to: pad first, convolve without padding; the gradient of padding is cropping.
        flat = [amount for pair in reversed(padding) for amount in pair]
        crop = [(0, size) for size in x.shape[2:]]
        none = (0,) * rank
        if case.problem.direction == "forward":
            return lambda: convolve(functional.pad(x, flat), w, bias, stride, none, dilation, groups)
        padded = functional.pad(x, flat)
        arguments = (w, None, stride, none, dilation, False, transposed_padding, groups)
        if case.problem.direction == "backward_weight":
            return lambda: backward(dy, functional.pad(x, flat), *arguments, (False, True, False))[1]
        window = tuple(slice(b, b + size) for (b, _), (_, size) in zip(padding, crop, strict=True))
        return lambda: backward(dy, padded, *arguments, (True, False, False))[0][(..., *window)]
    if case.problem.direction == "forward":
        return lambda: convolve(x, w, bias, stride, even, dilation, groups)
    arguments = (w, None, stride, even, dilation, False, transposed_padding, groups)
    if case.problem.direction == "backward_input":
        return lambda: backward(dy, x, *arguments, (True, False, False))[0]
    return lambda: backward(dy, x, *arguments, (False, True, False))[1]
