"""Calls of every public function on small integers: what a result on another kind of arrays is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import fastconv


@dataclass(frozen=True)
class Case:
    """A call; arrays among its arguments are NumPy's."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    ulps: int = 0
    scratch: int = 0
    """Allocations beside those of the results, on a repeated call."""

    def __call__(self, module: Any) -> Any:
        return self.function(*module.to(self.arguments), **module.to(self.options))


CASES: list[Case] = []


def integers(*shape: int, seed: int = 0, most: int = 3, dtype: Any = np.float32) -> np.ndarray:
    values = np.random.default_rng(seed + sum(shape)).integers(-most, most + 1, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * np.random.default_rng(seed + 1).integers(-most, most + 1, shape)
    return values.astype(dtype)


def case(name: str, *arguments: Any, ulps: int = 0, scratch: int = 0, **options: Any) -> None:
    function: Any = fastconv
    for part in name.split(" ")[0].split("."):
        function = getattr(function, part)
    CASES.append(Case(name, function, arguments, options, ulps, scratch))


# -- convolutions
X1, X2, X3 = integers(2, 4, 9), integers(2, 4, 6, 5), integers(1, 2, 4, 3, 5)
W1, W2, W3 = integers(6, 2, 3), integers(6, 2, 3, 2), integers(3, 2, 2, 3, 2)
BIAS = integers(6)

case("conv1d", X1, W1, BIAS, stride=2, padding=1, groups=2)
case("conv1d causal", X1, W1, dilation=2, padding="causal", groups=2)
case("conv1d unbatched", X1[0], W1, padding="same", groups=2)
case("conv1d wide", X1, W1, groups=2, stride=2**40, padding=2)
case("conv2d", X2, W2, BIAS, padding=(1, 0), dilation=(1, 2), groups=2, activation="relu")
case("conv2d residual", X2, W2, groups=2, add=integers(2, 6, 4, 4), activation=("leaky_relu", 0.25))
case("conv2d cropped", X2, W2, padding=((-1, 2), (1, 0)), groups=2)
case("conv2d channels_last", integers(2, 6, 5, 4), integers(3, 2, 2, 6), BIAS, groups=2, layout="NHWC", w_layout="HWIO",
     add=integers(2, 4, 4, 6), activation="relu6")  # fmt: skip
case("conv2d OHWI", X2, integers(6, 3, 2, 2), groups=2, w_layout="OHWI")
case("conv2d strides", integers(5, 6, 4, 4)[::-1, ::-2].T, integers(6, 3, 2, 4).transpose(0, 3, 1, 2)[:, :, ::-1],
     integers(12)[::2], scratch=1)  # fmt: skip
case("conv2d broadcast", np.broadcast_to(integers(1, 4, 1, 5), (3, 4, 6, 5)), W2, groups=2)
case("conv3d", X3, W3, integers(3), stride=(1, 2, 1), padding=1)
for mode in ("reflect", "replicate", "circular"):
    case(f"conv2d {mode}", X2, W2, groups=2, padding=((2, 1), (1, 2)), padding_mode=mode, scratch=1)
    case(f"conv2d_backward {mode}", integers(2, 6, 7, 7), X2, W2, groups=2, padding=((2, 1), (1, 2)), padding_mode=mode,
         scratch=2)  # fmt: skip
for activation in ("silu", "gelu", "tanh", "sigmoid"):
    case(f"conv1d {activation}", X1 / 4, W1 / 4, groups=2, activation=activation, ulps=6)
    case(f"conv1d_backward {activation}", integers(2, 6, 7), X1 / 4, W1 / 4, groups=2, activation=activation, ulps=8,
         scratch=1)  # fmt: skip
case("conv_transpose1d", X1, integers(4, 3, 3), integers(6), stride=3, output_padding=2, groups=2)
case("conv_transpose2d", X2, integers(4, 3, 3, 2), integers(6), stride=2, padding=1, groups=2, activation="relu",
     add=integers(2, 6, 11, 8))  # fmt: skip
case("conv_transpose3d", X3, integers(2, 3, 2, 1, 2), stride=2, dilation=2)
case("conv_transpose2d_backward", integers(2, 6, 13, 10), X2, integers(4, 3, 3, 2), integers(6), stride=2, groups=2)
case("conv1d_backward", integers(2, 6, 4), X1, W1, BIAS, stride=2, groups=2)
case("conv2d_backward", integers(2, 6, 4, 4), X2, W2, BIAS, groups=2, activation="relu", scratch=1)
case("conv2d_backward leaky", integers(2, 6, 4, 4), X2, W2, groups=2, activation="leaky_relu",
     needs=(False, True, False), ulps=8, scratch=1)  # fmt: skip
DY = integers(2, 6, 4, 4)
for name, dy in (("reversed", DY[:, :, ::-1, ::-1]), ("broadcast", np.broadcast_to(DY[..., :1], DY.shape))):
    case(f"conv2d_backward relu {name}", dy, X2, W2, BIAS, groups=2, activation="relu", scratch=1)
    case(f"separable_conv2d_backward {name}", np.broadcast_to(dy[..., :1, :1], (2, 6, 6, 5)), X2, integers(4, 1, 3, 3),
         integers(6, 4, 1, 1), BIAS, padding=1, activation="relu6", scratch=2)  # fmt: skip
case("conv2d leaky float64", X2.astype(np.float64), W2.astype(np.float64), groups=2, activation=("leaky_relu", 0.01))
case("conv2d_backward unbatched", integers(6, 4, 4), X2[0], W2, BIAS, groups=2)
case("conv3d_backward", integers(1, 3, 3, 1, 4), X3, W3)
case("grad.conv2d_input", X2.shape, W2, integers(2, 6, 4, 4), groups=2)
case("grad.conv2d_weight", X2, W2.shape, integers(2, 6, 4, 4), groups=2)
case("grad.conv2d_bias", integers(2, 6, 4, 4))
case("grad.conv_transpose2d_input", X2.shape, integers(4, 3, 3, 2), integers(2, 6, 13, 10), stride=2, groups=2)
case("grad.conv_transpose2d_weight", X2, (4, 3, 3, 2), integers(2, 6, 13, 10), stride=2, groups=2)
case("depthwise_conv1d", X1, integers(8, 1, 3), padding="same")
case("depthwise_conv2d", X2, integers(4, 1, 3, 3), integers(4), stride=2, padding=1)
case("depthwise_conv3d", X3, integers(2, 1, 2, 2, 2))
case("depthwise_conv2d_backward", integers(2, 4, 3, 3), X2, integers(4, 1, 3, 3), integers(4), stride=2, padding=1)
SEPARABLE = X2, integers(4, 1, 3, 3), integers(6, 4, 1, 1), BIAS
case("separable_conv2d", *SEPARABLE, padding=1, activation="relu", scratch=1)
case("separable_conv2d_backward", integers(2, 6, 6, 5), *SEPARABLE, padding=1, scratch=2)
case("causal_conv1d", X1, integers(4, 1, 3), integers(4), dilation=2, scratch=1)
case("causal_conv1d state", X1, integers(4, 3), state=integers(2, 4, 2), add=integers(2, 4, 9), scratch=1)
case("causal_conv1d short", X1[..., :1], integers(4, 3), state=integers(2, 4, 2), scratch=1)
case("causal_conv1d_backward", integers(2, 4, 9), X1, integers(4, 3), integers(4), state=integers(2, 4, 2),
     dstate=integers(2, 4, 2), scratch=1)  # fmt: skip
BYTES = np.arange(2 * 4 * 6 * 5).reshape(2, 4, 6, 5).astype(np.uint8), integers(6, 2, 3, 2, dtype=np.int8)
case("conv2d_integer", *BYTES, x_zero_point=128, w_zero_point=[1, -2, 3, 0, 5, -6], padding=1, groups=2)
case("conv2d_integer plain", BYTES[0].view(np.int8), BYTES[1].view(np.uint8), groups=2)
case("conv1d_integer", integers(2, 4, 9, dtype=np.int8), integers(6, 4, 3, dtype=np.int8), x_zero_point=-3)

# -- half floats: rounded once, from float32's or wider sums
for dtype in (np.float16, ml_dtypes.bfloat16):
    name = np.dtype(dtype).name
    x, w, dy = (integers(*shape, dtype=dtype) for shape in ((2, 4, 6, 5), (6, 2, 3, 2), (2, 6, 4, 4)))
    case(f"conv2d {name}", x, w, integers(6, dtype=dtype), groups=2, add=dy, activation="relu")
    case(f"conv2d_backward {name}", dy, x, w, integers(6, dtype=dtype), groups=2, activation="relu", scratch=1)
    case(f"conv2d_backward reflect {name}", dy, x[:, :, :4, :3], w, groups=2, padding=1, padding_mode="reflect",
         scratch=2)  # fmt: skip
    case(f"max_pool2d {name}", x, 3, 1, return_indices=True)
    case(f"avg_pool2d {name}", x, 2)
    case(f"avg_pool2d_backward {name}", 4 * integers(2, 4, 3, 2).astype(dtype), x, 2, scratch=1)
    case(f"max_pool2d_backward {name}", integers(2, 4, 4, 3, dtype=dtype), x, 3, 1, scratch=3)
    case(f"fold {name}", integers(4 * 3, 7, dtype=dtype), 9, (3,))

# -- NaN and infinities: where the definition puts them
BAD_X, BAD_W = X2.copy(), W2.copy()
BAD_X[0, 1, 2, 3], BAD_X[1, 3, 0, 0], BAD_W[2, 1, 0, 0], BAD_W[5, 0, 2, 1] = np.nan, np.inf, np.inf, np.nan
for name, x, w in (("x", BAD_X, W2), ("w", X2, BAD_W)):
    case(f"conv2d bad {name}", x, w, groups=2, padding=1, activation="relu")
    case(f"conv_transpose2d bad {name}", integers(2, 6, 4, 4), w, groups=2, stride=2)
    case(f"conv2d_backward bad {name}", integers(2, 6, 4, 4), x, w, groups=2)
    case(f"conv2d_backward reflect {name}", integers(2, 6, 6, 6), x, w, groups=2, padding=((1, 1), (1, 1)),
         padding_mode="reflect", scratch=2)  # fmt: skip
case("max_pool2d bad", BAD_X, 3, 1, return_indices=True)
case("avg_pool2d bad", BAD_X, 3, 1, ulps=1)

# -- arrays without elements
case("conv2d no batch", X2[:0], W2, BIAS, groups=2)
case("conv2d no channels", X2[:, :0], W2[:, :0], BIAS, padding=1, activation="relu")
case("conv2d no filters", X2, W2[:0], groups=1 + 1)
case("conv2d no pixels", X2[:, :, :0], W2, BIAS, groups=2, padding=2)
case("conv2d no pixels bad", X2[:, :, :0], BAD_W, groups=2, padding=2)
case("conv2d_backward no batch", integers(0, 6, 4, 4), X2[:0], W2, BIAS, groups=2)
case("depthwise_conv2d_backward no batch", integers(0, 4, 4, 3), X2[:0], integers(4, 1, 3, 3),
     algorithm="depthwise_nchw")  # fmt: skip
case("max_pool2d no batch", X2[:0], 2, return_indices=True)
case("unfold no batch", X2[:0], 2)
case("causal_conv1d no batch", X1[:0], integers(4, 3), scratch=1)

# -- complex numbers: gradients multiply by conjugates
for number, dtype in enumerate((np.complex64, np.complex128)):
    z, w, dy = (integers(*shape, dtype=dtype) for shape in ((2, 4, 6, 5), (6, 2, 3, 2), (2, 6, 4, 4)))
    case(f"conv2d c{number}", z, w, integers(6, dtype=dtype), groups=2, add=dy)
    case(f"conv2d_backward c{number}", dy, z, w, integers(6, dtype=dtype), groups=2)
    case(f"conv_transpose2d_backward c{number}", integers(2, 6, 8, 6, dtype=dtype), z,
         integers(4, 3, 3, 2, dtype=dtype), groups=2)  # fmt: skip
    case(f"avg_pool2d c{number}", z, 2)
    case(f"avg_pool2d_backward c{number}", 4 * integers(2, 4, 3, 2, dtype=dtype), z, 2)
    case(f"fold c{number}", integers(4 * 3, 7, dtype=dtype), 9, (3,))

# -- pooling
case("max_pool1d", X1, 3, 2, 1)
case("max_pool2d", X2, (3, 2), 2, 1, ceil_mode=True)
case("max_pool2d indices", X2, 3, 1, padding="same", dilation=1, return_indices=True)
case("max_pool2d dilated", X2[..., ::-1], 2, 1, dilation=2)
case("max_pool3d", X3, 2, layout="NDHWC", return_indices=True)
for dtype in (np.int8, np.uint64, np.int64):
    case(f"max_pool2d {np.dtype(dtype)}", integers(2, 4, 6, 5, dtype=dtype), 2, return_indices=True)
case("avg_pool2d", X2, 3, 2, 1, ulps=1)
case("avg_pool2d inside", X2, 3, 2, 1, count_include_pad=False, ceil_mode=True, ulps=1)
case("avg_pool2d divisor", X2, 2, divisor_override=4)
case("avg_pool1d int64", integers(2, 4, 9, dtype=np.int64), 2, divisor_override=-1)
case("adaptive_avg_pool2d", X2, (4, 3), ulps=1)
case("adaptive_max_pool2d", X2, (4, None), return_indices=True)
case("global_avg_pool", X2, keepdims=False, ulps=1)
case("global_max_pool", X3, layout="channels_last")
case("max_pool2d_backward", integers(2, 4, 3, 2), X2, 2, scratch=2)
case("max_pool2d_backward overlapping", integers(2, 4, 4, 3), X2, 3, 1, scratch=2)
case("max_pool2d_backward indices", integers(2, 4, 2, 1), X2.shape, 3, indices=np.full((2, 4, 2, 1), 7))
case("avg_pool2d_backward", 36 * integers(2, 4, 3, 3), X2, 3, 2, 1)
case("avg_pool2d_backward inside", 36 * integers(2, 4, 3, 3), X2, 3, 2, 1, count_include_pad=False, ulps=2)
case("avg_pool1d_backward dilated", integers(2, 4, 9), X1, 1, 1)
case("adaptive_avg_pool2d_backward", 36 * integers(2, 4, 4, 3), X2, (4, 3), ulps=2)
case("adaptive_max_pool2d_backward", integers(2, 4, 4, 3), X2, (4, 3), scratch=2)
case("global_avg_pool_backward", 30 * integers(2, 4, 1, 1), X2.shape)
case("global_max_pool_backward", integers(2, 4, 1, 1), X2, scratch=2)

# -- unfold and fold
case("unfold", X2, (3, 2), 1, 1, 2)
case("unfold 1d", X1, (3,), dilation=2)
case("unfold strides", X2[..., ::-2], 2, padding="same")
case("unfold bool", X2 > 0, 2)
case("fold", integers(2, 4 * 6, 9), (6, 5), (3, 2), padding=1, stride=2)
case("fold unbatched", integers(4 * 3, 7), 9, (3,))
case("fold uint8", integers(2, 4, 24, dtype=np.uint8), (5, 7), 2)
case("unfold_backward", integers(2, 4 * 6, 9), X2, (3, 2), padding=1, stride=2)
case("fold_backward", X2, (6, 5), (3, 2), padding=1, stride=2)
