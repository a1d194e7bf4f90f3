"""How far a network looks: what ``fastconv.tiled`` has to know of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from .activation import Activation, Hardsigmoid, Hardswish
from .containers import Branches, Identity, Residual, Sequential
from .convolution import CausalConv1d, Convolution, Correlating, Transposed
from .dropout import Dropping
from .module import Composite, Module
from .networks.unet import Skip
from .normalization import BatchNorm, LayerNorm2d
from .pooling import AvgPool, MaxPool
from .recomputed import Recomputed
from .upsample import Upsample


class ReceptiveField(NamedTuple):
    """Of a network, for each spatial axis."""

    halo: tuple[tuple[int, int], ...]
    """Elements (before, after) an element of the input that change what comes of it."""
    scale: tuple[Fraction, ...]
    """Size of the result for that of the input."""
    align: tuple[int, ...]
    """Windows that start at multiples of this number are computed as the whole is."""


class Reach(NamedTuple):
    """What an element j of an intermediate result depends on: input from j * step + first to j * step + last."""

    first: Fraction
    last: Fraction
    step: Fraction
    align: int

    def wider(self, first: Any, last: Any, step: Any) -> Reach:
        """After a layer that reads from ``first`` to ``last`` and goes on by ``step``, in elements of its input."""
        after = self.step * step
        return Reach(
            self.first + first * self.step,
            self.last + last * self.step,
            after,
            math.lcm(self.align, after.numerator if after.denominator == 1 else math.ceil(after)),
        )


def receptive_field(model: Module, dimensions: int = 2) -> ReceptiveField:
    """How far a network looks to each side, so that it can be computed by tiles.

    Parameters
    ----------
    model : Module
        Of layers that look at their neighbourhood: not at the whole image, as global pooling does.
    dimensions : int, default 2
        How many spatial axes there are.

    Returns
    -------
    ReceptiveField
        ``halo``, ``scale`` and ``align``, as ``fastconv.tiled`` takes them.

    Raises
    ------
    ValueError
        If a layer looks at the whole image, or is not known; it is named.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> from fastconv import nn
    >>> model = nn.networks.unet(width=4, depth=1).eval()
    >>> field = nn.receptive_field(model)
    >>> field.halo, field.align
    (((9, 9), (9, 9)), (2, 2))
    >>> image = np.random.default_rng(0).random((1, 1, 96, 64), np.float32)
    >>> y = fastconv.tiled(model, image, 32, **field._asdict())
    >>> np.allclose(y, model(image), atol=1e-5)
    True
    """
    if dimensions < 1:
        raise ValueError(f"dimensions: got {dimensions!r}; allowed: 1 or more")
    start = Reach(Fraction(0), Fraction(0), Fraction(1), 1)
    ends = _through(model, [start] * dimensions)
    # A result between elements of the input counts as of the one before it.
    halo = tuple((max(math.ceil(-end.first), 0), max(math.ceil(end.last), 0)) for end in ends)
    return ReceptiveField(halo, tuple(1 / end.step for end in ends), tuple(end.align for end in ends))


def _through(module: Module, before: list[Reach]) -> list[Reach]:
    """After a module."""
    for kinds, rule in RULES:
        if isinstance(module, kinds):
            return rule(module, before)
    raise ValueError(
        f"model: its {module!r} looks at the whole image, or it is not known how far; tiles are not possible"
    )


def _one_after_another(module: Any, before: list[Reach]) -> list[Reach]:
    for each in module:
        before = _through(each, before)
    return before


def _side_by_side(parts: list[list[Reach]]) -> list[Reach]:
    """As far as the one that looks furthest."""
    found = []
    for reaches in zip(*parts, strict=True):
        if len({reach.step for reach in reaches}) > 1:
            raise ValueError(f"model: steps of {[str(reach.step) for reach in reaches]} meet; allowed: one step")
        first, last = min(reach.first for reach in reaches), max(reach.last for reach in reaches)
        found.append(Reach(first, last, reaches[0].step, math.lcm(*(reach.align for reach in reaches))))
    return found


def _residual(module: Any, before: list[Reach]) -> list[Reach]:
    passed = before if module.shortcut is None else _through(module.shortcut, before)
    return _side_by_side([_through(module.body, before), passed])


def _each(value: Any, count: int) -> list[Any]:
    return [value] * count if not isinstance(value, list | tuple) else list(value)


def _windows(module: Any, before: list[Reach]) -> list[Reach]:
    """Convolutions and pooling."""
    count = len(before)
    stride = module.kernel_size if module.stride is None else module.stride
    axes = zip(
        before,
        _each(module.kernel_size, count),
        _each(stride, count),
        _each(getattr(module, "dilation", 1), count),
        _each(module.padding, count),
        strict=True,
    )
    after = []
    for reach, kernel, step, dilation, padding in axes:
        length = (kernel - 1) * dilation
        if isinstance(module, CausalConv1d):
            start = length
        elif isinstance(padding, str):
            # Of "same", how much lies before depends on the size: at most all of it.
            after.append(reach.wider(0 if padding == "valid" else -length, length, step))
            continue
        else:
            start = padding[0] if isinstance(padding, list | tuple) else padding
        after.append(reach.wider(-start, length - start, step))
    return after


def _transposed(module: Any, before: list[Reach]) -> list[Reach]:
    """An element j of the result reads from elements i with j = i * stride - padding + tap * dilation."""
    axes = zip(before, module.kernel_size, module.stride, module.dilation, module.padding, strict=True)
    return [
        reach.wider(Fraction(padding - (kernel - 1) * dilation, stride), Fraction(padding, stride), Fraction(1, stride))
        for reach, kernel, stride, dilation, padding in axes
    ]


def _upsampled(module: Any, before: list[Reach]) -> list[Reach]:
    if module.size is not None or module.align_corners:
        raise ValueError(f"model: its {module!r} depends on the size of the image; tiles are not possible")
    scales = [Fraction(scale).limit_denominator(64) for scale in _each(module.scale_factor, len(before))]
    return [reach.wider(-1, 1, 1 / scale) for reach, scale in zip(before, scales, strict=True)]


Rule = Callable[[Any, list[Reach]], list[Reach]]
RULES: list[tuple[tuple[type, ...], Rule]] = [
    ((Sequential,), _one_after_another),
    ((Residual,), _residual),
    ((Branches,), lambda module, before: _side_by_side([_through(each, before) for each in module._branches])),
    # What is cropped from the middle lies within what the inner module looks at.
    ((Skip,), lambda module, before: _side_by_side([before, _through(module.inner, before)])),
    ((Composite,), lambda module, before: _through(module._route, before)),
    ((Recomputed,), lambda module, before: _through(module._module, before)),
    ((Transposed,), _transposed),
    ((Correlating, Convolution, MaxPool, AvgPool), _windows),
    ((Upsample,), _upsampled),
    ((Activation, Hardsigmoid, Hardswish, Dropping, BatchNorm, LayerNorm2d, Identity), lambda module, before: before),
]
"""The first that fits; containers first."""
