"""Convolution layers: weights and settings for the public functions, with the arguments of ``torch.nn``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import grad
from ..functional import backward, convolution
from . import initial
from .containers import Sequential
from .module import Array, Composite, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value

Sizes = int | Sequence[int]


def sizes_of(value: Sizes, dimensions: int, name: str) -> tuple[int, ...]:
    """One size for each axis."""
    sizes = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(sizes) != dimensions:
        raise ValueError(f"{name}: got {value!r}; allowed: one number or {dimensions}")
    return sizes


class Convolution(Module):
    """What convolutions of all dimensions, transposed or not, have in common."""

    dimensions: int
    is_transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, groups: int, bias: bool, dtype: Any
    ) -> None:
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels < 1 or groups < 1 or channels % groups:
                raise ValueError(f"{name}: got {channels} with groups={groups}; allowed: positive multiples of groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = sizes_of(kernel_size, self.dimensions, "kernel_size")
        first, second = in_channels, out_channels
        if not self.is_transposed:
            first, second = out_channels, in_channels
        shape = (first, second // groups, *self.kernel_size)
        fan_in = math.prod(shape[1:])
        self.weight = initial.uniform(shape, fan_in, dtype)
        self.bias = initial.uniform((out_channels,), fan_in, dtype) if bias else None

    def settings(self) -> dict[str, Any]:
        """Of the public functions."""
        raise NotImplementedError

    def function(self, suffix: str = "") -> Any:
        """The public function of this layer."""
        return getattr(backward if suffix else convolution, self.name() + suffix)

    def name(self) -> str:
        """Of the public functions."""
        return f"conv{'_transpose' if self.is_transposed else ''}{self.dimensions}d"

    def check(self, x: Array | Value) -> None:
        """Whether x has the channels that the weight is for."""
        if (
            x.ndim not in (self.dimensions + 1, self.dimensions + 2)
            or x.shape[-self.dimensions - 1] != self.in_channels
        ):
            batch = "(N, " if x.ndim != self.dimensions + 1 else "("
            sizes = ", ".join("DHW"[-self.dimensions :])
            raise ValueError(f"x: got shape {x.shape}; allowed: {batch}{self.in_channels}, {sizes})")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = self.function()(x, self.weight.data, None if self.bias is None else self.bias.data, **self.settings())
        self.keep(x)
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, weight, settings = self.kept(), self.weight, self.settings()
        of_weight = getattr(grad, f"{self.name()}_weight")
        weight.add_gradient(lambda out: of_weight(x, weight.shape, dy, out=out, **settings))
        needs = (wants_dx, False, self.bias is not None and self.bias.is_trained)
        if not any(needs):
            return None
        bias = None if self.bias is None else self.bias.data
        dx, _, db = self.function("_backward")(dy, x, weight.data, bias, needs=needs, **settings)
        if self.bias is not None:
            self.bias.add_gradient(lambda out: db)
        return dx  # type: ignore[no-any-return]

    def lower(self, graph: Graph, x: Value) -> Value:
        self.check(x)
        function = f"conv{'_transpose' * self.is_transposed}{self.dimensions}d"
        bias = None if self.bias is None else self.bias.data
        return graph.convolution(function, x, self.weight.data, bias, **self.settings())

    def describe(self) -> str:
        told = [str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}"]
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0, "padding_mode": "zeros"}
        for name, value in self.settings().items():
            common = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
            if common != usual.get(name):
                told.append(f"{name}={value!r}")
        return ", ".join([*told, "bias=False"][: None if self.bias is None else len(told)])


class Correlating(Convolution):
    """Convolutions of one dimension or more."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, dtype)
        self.stride = sizes_of(stride, self.dimensions, "stride")
        self.padding = padding if isinstance(padding, str) else tuple(_padding(padding, self.dimensions))
        self.dilation = sizes_of(dilation, self.dimensions, "dilation")
        self.padding_mode = padding_mode

    def settings(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }


def _padding(padding: Any, dimensions: int) -> Sequence[Any]:
    """One number or pair for each axis."""
    return (padding,) * dimensions if isinstance(padding, int) else padding


class Conv1d(Correlating):
    """1-D convolution; arguments as in ``Conv2d``, with axes (W) in place of (H, W)."""

    dimensions = 1


class Conv2d(Correlating):
    """2-D convolution with the arguments, the parameters and the initial weights of ``torch.nn.Conv2d``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or two ints
    stride, dilation : int or two ints, default 1
    padding : int, two ints, two pairs or a word, default 0
        As in ``fastconv.conv2d``.
    groups : int, default 1
    bias : bool, default True
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, default "zeros"
    dtype : dtype or its name, default "float32"
        Of the parameters.

    Raises
    ------
    ValueError
        If the numbers of channels are no multiples of groups or there are not as many sizes as axes; when called, if x
        has other channels or too few pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Conv2d(3, 8, 3, padding=1)
    >>> y = layer(np.ones((2, 3, 5, 5), np.float32))
    >>> y.shape, layer.backward(np.ones_like(y)).shape, layer.weight.grad.shape
    ((2, 8, 5, 5), (2, 3, 5, 5), (8, 3, 3, 3))
    """

    dimensions = 2


class Conv3d(Correlating):
    """3-D convolution; arguments as in ``Conv2d``, with axes (D, H, W) in place of (H, W)."""

    dimensions = 3


class Transposed(Convolution):
    """Transposed convolutions of one dimension or more."""

    is_transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups, bias, dtype)
        self.stride = sizes_of(stride, self.dimensions, "stride")
        self.padding = sizes_of(padding, self.dimensions, "padding")
        self.output_padding = sizes_of(output_padding, self.dimensions, "output_padding")
        self.dilation = sizes_of(dilation, self.dimensions, "dilation")

    def settings(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }


class ConvTranspose1d(Transposed):
    """1-D transposed convolution; arguments as in ``ConvTranspose2d``."""

    dimensions = 1


class ConvTranspose2d(Transposed):
    """2-D transposed convolution with the arguments and the parameters of ``torch.nn.ConvTranspose2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose2d(4, 2, 2, stride=2)(np.ones((1, 4, 5, 5), np.float32)).shape
    (1, 2, 10, 10)
    """

    dimensions = 2


class ConvTranspose3d(Transposed):
    """3-D transposed convolution; arguments as in ``ConvTranspose2d``."""

    dimensions = 3


class CausalConv1d(Conv1d):
    """1-D convolution whose results depend on the current and earlier elements alone; x keeps its length.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, dilation, groups, bias, dtype
        As in ``Conv1d``.

    Examples
    --------
    A signal that comes in pieces:

    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer, x = nn.CausalConv1d(2, 3, 5).eval(), np.ones((1, 2, 20), np.float32)
    >>> first, state = layer.step(x[..., :8])
    >>> rest, state = layer.step(x[..., 8:], state)
    >>> bool(np.allclose(np.concatenate([first, rest], -1), layer(x), atol=1e-6))
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, 1, "causal", dilation, groups, bias, dtype=dtype)

    def step(self, x: Array, state: Array | None = None) -> tuple[Array, Array]:
        """The results for the next elements of a signal.

        Parameters
        ----------
        x : array, (N, C, W)
        state : array, (N, C, (kernel_size - 1) * dilation), optional
            What the step before has returned; default: zeros.

        Returns
        -------
        y, state : arrays
        """
        self.check(x)
        width = (self.kernel_size[0] - 1) * self.dilation[0]
        if state is None:
            state = initial_state(x, width)
        if state.shape != (*x.shape[:-1], width):
            raise ValueError(f"state: got shape {state.shape}; allowed: {(*x.shape[:-1], width)}")
        xp = array_module(x)
        if x.shape[-1] == 0:
            return xp.zeros((x.shape[0], self.out_channels, 0), x.dtype), state
        x = xp.concatenate([state, x], axis=-1)
        settings = self.settings() | {"padding": 0}
        y = self.function()(x, self.weight.data, None if self.bias is None else self.bias.data, **settings)
        return y, x[..., x.shape[-1] - width :].copy()


def initial_state(x: Array, width: int) -> Array:
    """Zeros before a signal."""
    return array_module(x).zeros((*x.shape[:-1], width), x.dtype)


class Separable(Composite):
    """A convolution of every channel alone, then one of 1 x 1 over the channels."""

    layer: type[Correlating]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        dilation: Sizes = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = "float32",
    ) -> None:
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": padding_mode}
        self.depthwise = self.layer(
            in_channels, in_channels, kernel_size, groups=in_channels, bias=False, dtype=dtype, **settings
        )
        self.pointwise = self.layer(in_channels, out_channels, 1, bias=bias, dtype=dtype)
        self._route = Sequential(self.depthwise, self.pointwise)


class SeparableConv1d(Separable):
    """1-D depthwise separable convolution; arguments as in ``SeparableConv2d``."""

    layer = Conv1d


class SeparableConv2d(Separable):
    """2-D depthwise separable convolution: ``depthwise``, of one filter a channel, then ``pointwise``, with the bias.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, bias, padding_mode, dtype
        As in ``Conv2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.SeparableConv2d(4, 6, 3, padding=1)(np.ones((1, 4, 5, 5), np.float32)).shape
    (1, 6, 5, 5)
    """

    layer = Conv2d


class SeparableConv3d(Separable):
    """3-D depthwise separable convolution; arguments as in ``SeparableConv2d``."""

    layer = Conv3d
