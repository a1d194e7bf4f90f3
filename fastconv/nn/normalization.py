"""Normalizations: by the statistics of a batch's channels, of groups of channels, or of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..functional.normalization import (
    batch_norm,
    batch_norm_backward,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
)
from . import initial
from .module import Array, Module
from .parameter import Buffer, Parameter, overwritable

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


class Normalization(Module):
    """What normalizations share: weight and bias, and an activation that is computed in the same pass."""

    weight: Parameter | None
    bias: Parameter | None
    _then: Any = None

    def _affine(self, shape: Any, has_weight: bool, has_bias: bool, dtype: Any) -> None:
        self.weight = initial.ones(shape, dtype) if has_weight else None
        self.bias = initial.zeros(shape, dtype) if has_bias else None

    def then(self, activation: Any, x: Array) -> Array:
        """``activation(self(x))`` in one pass; ``backward`` goes through both then."""
        self._then = activation
        try:
            return self(x)
        finally:
            self._then = None

    def _numbers(self) -> tuple[Any, Any]:
        """Weight and bias as arrays."""
        return tuple(None if each is None else each.data for each in (self.weight, self.bias))  # type: ignore[return-value]

    def _add(self, dweight: Array, dbias: Array) -> None:
        """Add to the gradients."""
        for parameter, gradient in ((self.weight, dweight), (self.bias, dbias)):
            if parameter is not None and gradient is not None:
                _add(parameter, gradient)

    def _needs(self, wants_dx: bool) -> tuple[bool, bool, bool]:
        trained = (each is not None and each.is_trained for each in (self.weight, self.bias))
        return wants_dx, *trained  # type: ignore[return-value]


def _add(parameter: Parameter, gradient: Array) -> None:
    def compute(out: Any) -> Any:
        if out is None:
            return gradient.astype(parameter.dtype, copy=False)
        out[...] = gradient
        return out

    parameter.add_gradient(compute)


class BatchNorm(Normalization):
    """Normalizes every channel by its mean and variance in the batch, in evaluation mode by the running ones.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float, default 1e-5
        Added to variances.
    momentum : float or None, default 0.1
        The share of a batch's statistics in the running ones; None: these are the averages over all batches.
    affine : bool, default True
        Whether there are a weight and a bias.
    track_running_stats : bool, default True
        Whether there are running statistics; without them, those of the batch are used in evaluation mode too.
    dtype : dtype or its name, default "float32"
    """

    _axes: tuple[int, ...] = ()
    """How many axes an input may have."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = "float32",
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._affine((num_features,), affine, affine, dtype)
        if track_running_stats:
            self.running_mean = Buffer(np.zeros(num_features, dtype))
            self.running_var = Buffer(np.ones(num_features, dtype))
            self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def check(self, x: Array | Value) -> None:
        """Whether x has the axes and the channels that are allowed."""
        if x.ndim not in self._axes or x.shape[1] != self.num_features:
            axes = " or ".join(map(str, self._axes))
            raise ValueError(f"x: got shape {x.shape}; allowed: {axes} axes, {self.num_features} channels")

    def forward(self, x: Array) -> Array:
        self.check(x)
        uses_batch = self.training or not self.track_running_stats
        given = {} if uses_batch else {"mean": self.running_mean.data, "variance": self.running_var.data}
        count = x.size // max(self.num_features, 1)
        if self.training and count < 2:
            raise ValueError(f"x: got shape {x.shape}; allowed in training: two or more values of a channel")
        y, mean, variance = batch_norm(x, *self._numbers(), **given, eps=self.eps, activation=self._then)
        if self.training and self.track_running_stats:
            self._track(mean, variance, count)
        self.keep((x, mean, variance, self._then, uses_batch))
        return y

    def _track(self, mean: Array, variance: Array, count: int) -> None:
        """Move the running statistics towards those of a batch; of the variance, the unbiased one."""
        self.num_batches_tracked.data += 1
        share = 1 / float(self.num_batches_tracked.data) if self.momentum is None else self.momentum
        for buffer, value in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
            buffer.data *= 1 - share
            buffer.data += (share * value).astype(buffer.dtype, copy=False)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, mean, variance, activation, uses_batch = self.kept()
        more: dict[str, Any] = {"eps": self.eps, "activation": activation, "batch_statistics": uses_batch}
        more |= {"needs": self._needs(wants_dx), "out": overwritable(dy)}
        dx, *gradients = batch_norm_backward(dy, x, mean, variance, *self._numbers(), **more)
        self._add(*gradients)
        return dx

    def lower(self, graph: Graph, x: Value) -> Value:
        self.check(x)
        weight, bias = self._numbers()
        if not self.track_running_stats:
            raise NotImplementedError("without running statistics, it cannot be compiled")
        wide = "float64"
        scale = (self.running_var.data.astype(wide) + self.eps) ** -0.5
        scale = scale if weight is None else scale * weight.astype(wide)
        shift = -self.running_mean.data.astype(wide) * scale
        return graph.scale(x, scale, shift if bias is None else shift + bias.astype(wide))

    def describe(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); see ``BatchNorm2d``."""

    _axes = (2, 3)


class BatchNorm2d(BatchNorm):
    __doc__ = (
        (BatchNorm.__doc__ or "").replace("every channel", "every channel of (N, C, H, W)", 1)
        + """
    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.BatchNorm2d(3)(np.ones((2, 3, 4, 5), np.float32)).max()
    np.float32(0.0)
    """
    )

    _axes = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W); see ``BatchNorm2d``."""

    _axes = (5,)


class GroupNorm(Normalization):
    """Normalizes groups of channels of every image by their means and variances.

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float, default 1e-5
    affine : bool, default True
    dtype : dtype or its name, default "float32"
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = "float32"
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups: got {num_groups}; allowed: a divisor of the {num_channels} channels")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._affine((num_channels,), affine, affine, dtype)

    def check(self, x: Array | Value) -> None:
        """Whether x has the channels that are normalized."""
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"x: got shape {x.shape}; allowed: {self.num_channels} channels")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y, mean, variance = group_norm(x, self.num_groups, *self._numbers(), eps=self.eps, activation=self._then)
        self.keep((x, mean, variance, self._then))
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, mean, variance, activation = self.kept()
        more: dict[str, Any] = {"eps": self.eps, "activation": activation}
        more |= {"needs": self._needs(wants_dx), "out": overwritable(dy)}
        dx, *gradients = group_norm_backward(dy, x, self.num_groups, mean, variance, *self._numbers(), **more)
        self._add(*gradients)
        return dx

    def lower(self, graph: Graph, x: Value) -> Value:
        self.check(x)
        return graph.group_norm(x, self.num_groups, *self._numbers(), self.eps)

    def describe(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LayerNorm(Normalization):
    """Normalizes over the last axes, by a mean and a variance for every place on the other ones.

    Parameters
    ----------
    normalized_shape : int or ints
        The sizes of these axes.
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Whether every element has a weight.
    bias : bool, default True
        Whether it has a bias, too.
    dtype : dtype or its name, default "float32"
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = "float32",
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self._affine(shape, elementwise_affine, elementwise_affine and bias, dtype)

    def _axis(self, x: Array | Value) -> tuple[int, ...]:
        """The normalized axes."""
        count = len(self.normalized_shape)
        if x.shape[x.ndim - count :] != self.normalized_shape or x.ndim < count:
            raise ValueError(f"x: got shape {x.shape}; allowed: the last axes {self.normalized_shape}")
        return tuple(range(x.ndim - count, x.ndim))

    def forward(self, x: Array) -> Array:
        axis = self._axis(x)
        y, mean, variance = layer_norm(x, *self._numbers(), axis=axis, eps=self.eps, activation=self._then)
        self.keep((x, mean, variance, self._then))
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, mean, variance, activation = self.kept()
        more: dict[str, Any] = {"axis": self._axis(x), "eps": self.eps, "activation": activation}
        more |= {"needs": self._needs(wants_dx), "out": overwritable(dy)}
        dx, *gradients = layer_norm_backward(dy, x, mean, variance, *self._numbers(), **more)
        self._add(*gradients)
        return dx

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.layer_norm(x, self._axis(x), *self._numbers(), self.eps)

    def describe(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LayerNorm2d(LayerNorm):
    """Normalizes over the channels of (N, C, ...), by a mean and a variance for every pixel; as ``LayerNorm`` else."""

    def _axis(self, x: Array | Value) -> tuple[int, ...]:
        if x.ndim < 2 or x.shape[1:2] != self.normalized_shape:
            raise ValueError(f"x: got shape {x.shape}; allowed: {self.normalized_shape[0]} channels")
        return (1,)
