"""Modules of torch that compute by fastconv: torch's own classes with another ``forward``.

A module changes its class alone, and keeps parameters, buffers, hooks and state: it can be copied, pickled, restored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from .convolution import convolve
from .functions import Convolution, EagerConvolution, operator
from .pooling import ADAPTIVE_AVG, ADAPTIVE_MAX, AVG, MAX, EagerPooling, Kind
from .threads import share_threads

_C = torch._C
Model = TypeVar("Model", bound=nn.Module)

LOWERED = (torch.float32, torch.bfloat16, torch.float16)
"""What autocast turns into its own dtype."""


def _is_watched() -> bool:
    """Whether something looks at torch's own functions as they are called: modes, tracers, forward differentiation."""
    return bool(
        _C._len_torch_dispatch_stack()
        or _C._len_torch_function_stack()
        or forward_ad._current_level >= 0
        or _C._get_tracing_state() is not None
    )


def _is_forward_differentiated() -> bool:
    """Whether a transform of ``torch.func`` asks for derivatives along a direction."""
    stack = _C._functorch.get_interpreter_stack() or ()
    return any(each.key() == _C._functorch.TransformType.Jvp for each in stack)


def _way(*tensors: Tensor | None) -> Callable[..., Any] | None:
    """What computes a convolution here and now; None: torch. Exported programs hold torch's operators alone."""
    if torch.compiler.is_compiling():
        return None if torch.compiler.is_exporting() else operator
    if _C._are_functorch_transforms_active():
        return None if _is_forward_differentiated() or _is_watched() else Convolution.apply
    if _is_watched():
        return None
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        return EagerConvolution.apply
    return convolve


def _is_plain(tensor: Any) -> bool:
    return (type(tensor) is Tensor or type(tensor) is nn.Parameter) and tensor.device.type == "cpu"


def _lowered(tensor: Tensor) -> Tensor:
    """As autocast passes it to a convolution."""
    return tensor.to(torch.get_autocast_dtype("cpu")) if tensor.dtype in LOWERED else tensor


class _Convolution:
    """``forward`` of ConvNd; that of ConvTransposeNd takes a size."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self._computed(x, self.output_padding)
        return super().forward(x) if y is None else y  # type: ignore[misc]

    def _computed(self: Any, x: Any, output_padding: Any) -> Tensor | None:
        """The result; None where it is left to torch."""
        parameters = self._parameters  # quicker than nn.Module.__getattr__
        has_both = "weight" in parameters and "bias" in parameters  # else what parametrizes them has made attributes
        w, bias = (parameters["weight"], parameters["bias"]) if has_both else (self.weight, self.bias)
        if not (_is_plain(x) and _is_plain(w) and (bias is None or _is_plain(bias))):
            return None
        if x.dim() == w.dim() - 1:
            y = self._computed(x.unsqueeze(0), output_padding)
            return None if y is None else y.squeeze(0)
        compute = _way(x, w, bias)
        if x.dim() != w.dim() or compute is None:
            return None
        padding = self.padding
        if type(padding) is str or self.padding_mode != "zeros":
            if self.transposed:
                return None
            x, padding = self._padded(x)
        if torch.is_autocast_enabled("cpu"):
            x, w, bias = _lowered(x), _lowered(w), None if bias is None else _lowered(bias)
        y = compute(x, w, bias, self.stride, padding, self.dilation, self.transposed, output_padding, self.groups)
        return y

    def _padded(self: Any, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """The image, padded where a number an axis does not say how, and that number."""
        sides = self._reversed_padding_repeated_twice
        if self.padding_mode == "zeros" and sides[::2] == sides[1::2]:
            return x, tuple(sides[::-2])
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(x, sides, mode=mode), (0,) * len(self.kernel_size)


class _Transposed(_Convolution):
    def forward(self: Any, x: Tensor, output_size: Any = None) -> Tensor:
        output_padding = self.output_padding
        if output_size is not None and _is_plain(x):
            sizes = self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation
            output_padding = self._output_padding(x, output_size, *sizes)
        y = self._computed(x, output_padding)
        return super().forward(x, output_size) if y is None else y  # type: ignore[call-arg]


class _Pooling:
    """``forward`` of pooling. ``axes``: how many the module has; those of one are computed with another of size 1."""

    kind: Kind
    axes: int

    def forward(self, x: Tensor) -> Any:
        found = None
        if not torch.compiler.is_compiling() and _is_plain(x) and self.axes < x.dim() <= self.axes + 2:
            is_ours = not (_C._are_functorch_transforms_active() or _is_watched() or torch.is_autocast_enabled("cpu"))
            found = self._computed(x) if is_ours else None
        return super().forward(x) if found is None else found  # type: ignore[misc]

    def _computed(self, x: Tensor) -> Any:
        arguments = self._arguments(x)
        axes = self.axes
        if axes == 1:
            x, axes = x.unsqueeze(-2), 2
            ones = self.kind.of_one
            arguments = tuple(each if one is None else (one, *each) for each, one in zip(arguments, ones, strict=False))
        if torch.is_grad_enabled() and x.requires_grad:
            found = EagerPooling.apply(self.kind, axes, x, *arguments)
        else:
            found = self.kind.forward(axes, x, *arguments)
        if self.axes == 1 and found is not None:
            found = tuple(each.squeeze(-2) for each in found) if isinstance(found, tuple) else found.squeeze(-2)
        return found[0] if isinstance(found, tuple) and not getattr(self, "return_indices", False) else found

    def _each(self, value: Any) -> tuple[int, ...]:
        return (value,) * self.axes if isinstance(value, int) else tuple(value)

    def _arguments(self, x: Tensor) -> tuple[Any, ...]:
        raise NotImplementedError


class _Max(_Pooling):
    kind = MAX

    def _arguments(self: Any, x: Tensor) -> tuple[Any, ...]:
        windows = self.kernel_size, self.stride, self.padding, self.dilation
        return (*map(self._each, windows), self.ceil_mode)


class _Avg(_Pooling):
    kind = AVG

    def _arguments(self: Any, x: Tensor) -> tuple[Any, ...]:
        windows = map(self._each, (self.kernel_size, self.stride, self.padding))
        return (*windows, self.ceil_mode, self.count_include_pad, getattr(self, "divisor_override", None))


class _Adaptive(_Pooling):
    def _arguments(self: Any, x: Tensor) -> tuple[Any, ...]:
        sizes = x.shape[-self.axes :]
        wanted = zip(self._each_or_none(self.output_size), sizes, strict=False)
        return (tuple(size if each is None else each for each, size in wanted),)

    def _each_or_none(self, value: Any) -> tuple[int | None, ...]:
        return (None,) * self.axes if value is None else self._each(value)


class _AdaptiveAvg(_Adaptive):
    kind = ADAPTIVE_AVG


class _AdaptiveMax(_Adaptive):
    kind = ADAPTIVE_MAX


_FORWARD: dict[str, type] = {
    "Conv": _Convolution,
    "ConvTranspose": _Transposed,
    "MaxPool": _Max,
    "AvgPool": _Avg,
    "AdaptiveAvgPool": _AdaptiveAvg,
    "AdaptiveMaxPool": _AdaptiveMax,
}


def _accelerated(own: type[nn.Module], forward: type, axes: int) -> type[nn.Module]:
    """A class of this module's, by the name of torch's, that nobody can tell from it but by its ``forward``."""
    return type(own.__name__, (forward, own), {"__module__": __name__, "__doc__": own.__doc__, "axes": axes})


ACCELERATED: dict[type[nn.Module], type[nn.Module]] = {}
"""By torch's classes those with their ``forward`` by fastconv."""
for _name, _forward in _FORWARD.items():
    for _axes in (1, 2, 3):
        _own = getattr(nn, f"{_name}{_axes}d")
        ACCELERATED[_own] = _accelerated(_own, _forward, _axes)
globals().update({each.__name__: each for each in ACCELERATED.values()})  # where pickle looks for them
RESTORED = {accelerated: own for own, accelerated in ACCELERATED.items()}


def accelerate(model: Model) -> Model:
    """Have fastconv compute the convolutions and pooling of a model on the CPU, forward and backward.

    Modules of torch's classes ``ConvNd``, ``ConvTransposeNd``, ``MaxPoolNd``, ``AvgPoolNd``, ``AdaptiveAvgPoolNd`` and
    ``AdaptiveMaxPoolNd`` are changed where they are, those of classes derived from them are not. Parameters, buffers,
    hooks and the state dict stay. What fastconv does not take, as tensors of other devices, torch computes as before.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module
        The same model.

    Raises
    ------
    TypeError
        If ``model`` is something else.

    Examples
    --------
    >>> import torch, fastconv.compat.torch as compat
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    >>> x = torch.randn(1, 3, 10, 10)
    >>> y = model(x)
    >>> torch.allclose(compat.accelerate(model)(x), y, atol=1e-4)
    True
    """
    _changed(model, ACCELERATED)
    share_threads()
    return model


def restore(model: Model) -> Model:
    """Undo ``accelerate``.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module
        The same model.

    Raises
    ------
    TypeError
        If ``model`` is something else.

    Examples
    --------
    >>> import torch, fastconv.compat.torch as compat
    >>> model = compat.restore(compat.accelerate(torch.nn.Conv2d(3, 4, 3)))
    >>> type(model) is torch.nn.Conv2d
    True
    """
    return _changed(model, RESTORED)


def _changed(model: Model, classes: dict[type[nn.Module], type[nn.Module]]) -> Model:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, expected a torch.nn.Module")
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
    return model
