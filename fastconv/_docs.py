"""What the docstrings of the public functions share, and the decorator that puts it in.

A docstring names a paragraph by ``{name}`` alone on a line. The 1-D and 3-D functions say in one sentence, ``AS_IN``,
which 2-D function they are like; its description and sections take the place of that sentence, with their axes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])

PARAGRAPHS = {
    "stride": """
stride : int or one int per axis, default 1
padding : int, one int per axis, one (before, after) pair per axis, or a word, default 0
    Zeros (see ``padding_mode``) around the input. A negative number in a pair crops. Words: "valid" (0), "same"
    (result = ceil(input / stride), the extra element at the end), "same_lower" (at the start), "full", and for 1-D
    "causal". A flat list of before/after numbers is refused: libraries disagree on its order.
dilation : int or one int per axis, default 1
    Distance between the kernel's elements.
""",
    "groups": """
groups : int, default 1
    Input and output channels are cut into this many groups that do not see each other.
""",
    "layouts": """
{data_layout}
w_layout : {"OIHW", "HWIO", "OHWI"}, optional
    Order of the weight's axes; default "OIHW".
""",
    "padding_mode": """
padding_mode : {"zeros", "reflect", "replicate", "circular"}, default "zeros"
    NumPy's names "constant", "edge" and "wrap" are taken too.
""",
    "epilogue": """
activation : str or ("leaky_relu", slope), optional
    Applied last: "relu", "relu6", "leaky_relu" (slope 0.01), "silu", "gelu" (exact), "tanh" or "sigmoid".
add : array, optional
    A residual of the result's shape, added after the bias and before the activation.
""",
    "how": """
precision : {"ieee", "highest", "high", "medium"}, optional
    What error a float32 call may have (see ``set_precision``); default that of ``get_precision``, "high": 1e-5 of the
    largest result on typical data.
{algorithm}
""",
    "algorithm": """
algorithm : str, default "auto"
    Name of an algorithm to use, instead of the fastest one known for the problem.
threads : int, optional
    Default: that of ``get_num_threads``. The number does not change the result.
""",
    "pool": """
kernel_size : int or one int per axis
stride : int or one int per axis, optional
    Default, and for None or (), as in torch: kernel_size.
padding : int, one int per axis, one (before, after) pair per axis, or a word, default 0
    An int is at most half the kernel size, a number of a pair less than a window reaches. Words: "valid" (0), "same"
    (result = ceil(size / stride), the extra element at the end), "same_lower" (at the start), "full", and for 1-D
    "causal".
""",
    "pool_dilation": """
dilation : int or one int per axis, default 1
    Distance between the elements of a window.
""",
    "ceil_mode": """
ceil_mode : bool, default False
    Round the result's size up: a last window may reach past the padded input, unless it would start in the padding
    after it.
""",
    "return_indices": """
return_indices : bool, default False
    Also return where the maxima are: flat indices into the spatial axes of x, int64.
""",
    "divisor": """
count_include_pad : bool, default True
    Whether the padding counts as elements of a window.
divisor_override : int, optional
    Divide by this number, instead of the number of elements.
""",
    "data_layout": """
layout : {"NCHW", "NHWC"}, optional
    Order of the axes of all data arrays; default "NCHW".
""",
    "output_size": """
output_size : int, None or one of them per axis
    Spatial size of the result; None keeps that of x.
""",
    "keepdims": """
keepdims : bool, default True
    Whether the spatial axes stay, with size 1.
""",
    "global_layout": """
layout : str, optional
    "channels_first" (default) or "channels_last", or for up to three spatial axes as "NCHW", "NHWC".
""",
    "threads": """
threads : int, optional
    Default: that of ``get_num_threads``. The number does not change the result.
""",
    "maximum_gradient": """
x : array, or with ``indices`` its shape
    The forward function's input.
indices : array of int64, optional
    What the forward function returned with ``return_indices``; found again from x without it.
""",
    "average_gradient": """
x : array or its shape
    The forward function's input.
""",
    "block_kernel": """
kernel_size : int or one int per axis
    Its length says over how many axes blocks slide; for an int these are two, as in torch, or those that x has if it
    has 2 or 5 axes.
""",
    "blocks": """
dilation : int or one int per axis, default 1
    Distance between the elements of a block.
padding : int, one int per axis, one (before, after) pair per axis, or a word, default 0
    Zeros around the image; a negative number in a pair crops. Words: "valid", "same", "same_lower", "full", and for
    1-D "causal".
stride : int or one int per axis, default 1
    Distance between neighbouring blocks.
""",
    "out": """
out : array, optional
    Where the result goes: its shape and dtype, any strides; it may overlap the inputs.
""",
    "needs": """
needs : three bools, default (True, True, True)
    Which of the gradients for x, w and bias to compute.
""",
    "four_needs": """
needs : four bools, default (True, True, True, True)
    Which of the results to compute.
""",
    "gradients": """
(dx, dw, db) : arrays of the shapes and dtype of x, w and bias
    None where ``needs`` is False. db is dy summed over all but the channels, with and without a bias. With an
    ``activation`` the forward is computed again before it. Gradients of complex arrays are torch's: products with
    conjugates.
""",
    "separable_gradients": """
(dx, dw_depthwise, dw_pointwise, db) : arrays of the shapes and dtype of x, the weights and bias
    None where ``needs`` is False; see ``conv2d_backward``. The depthwise result is computed again.
""",
    "depthwise_weight": """
w : array, (C * m, 1, kH, kW)
    m kernels for each of the C channels of x; the results of channel c are the channels c * m to c * m + m - 1.
""",
    "zero_points": """
x_zero_point : int, default 0
    What stands for zero in x.
w_zero_point : int or (K,) ints, default 0
    What stands for zero in w, for all output channels or for each.
""",
    "input_and_dy": """
Parameters
----------
input_shape : ints
    Shape of x, in its layout.
w : array
dy : array
    Gradient of the forward's result, of its shape.
""",
    "weight_and_dy": """
Parameters
----------
x : array
weight_shape : ints
    Shape of w, in its layout.
dy : array
    Gradient of the forward's result, of its shape.
""",
    "of_forward": """
{stride}
{groups}
{padding_mode}
{layouts}
{one_gradient}
""",
    "of_transposed_forward": """
{stride}
output_padding : int or one int per axis, default 0
{groups}
output_size : one int per axis, optional
    As in the forward: they say what the shape of dy is.
{layouts}
{one_gradient}
""",
    "one_gradient": """
{how}
{out}

Returns
-------
array of the shape asked for and the dtype of dy
    Gradients of complex arrays are torch's: products with conjugates.

{raises}
""",
    "raises": """
Raises
------
ValueError, TypeError
    For shapes, dtypes and settings that do not fit each other; the message names the argument, what it was and what
    is allowed. Nothing is computed then.
MemoryError
    Where there is no memory for the result.
""",
}


AS_IN = re.compile(
    r"^Parameters, result and errors are as in ``(\w+)``, with axes \(([DHW, ]+)\) in place of \(H, W\)\.$",
    re.MULTILINE,
)

_whole: dict[str, str] = {}
"""The docstrings that say everything themselves."""
_waiting: dict[str, list[Callable[..., object]]] = {}
"""Functions that are like one that has not been seen yet."""


def documented(function: Function) -> Function:
    """Put the shared paragraphs into the function's docstring, and what it takes from a 2-D function's."""
    function.__doc__ = text = _filled(inspect.cleandoc(function.__doc__ or ""))
    like = AS_IN.search(text)
    if like is None:
        _whole[function.__name__] = text
    else:
        _waiting.setdefault(like[1], []).append(function)
    name = function.__name__ if like is None else like[1]
    if name in _whole:
        for form in _waiting.pop(name, ()):
            form.__doc__ = AS_IN.sub(lambda like: _over(like[2].split(", "), _whole[like[1]]), form.__doc__ or "")
    return function


def _filled(text: str) -> str:
    return re.sub(r"^\{(\w+)\}$", lambda match: _filled(PARAGRAPHS[match[1]].strip("\n")), text, flags=re.MULTILINE)


def _over(axes: list[str], text: str) -> str:
    """What stands between summary and examples of a 2-D function's docstring, for these axes instead of H and W."""
    text = text.partition("\n\n")[2].partition("\n\nExamples\n")[0]
    text = re.sub(r"\b([ok]?)H, \1W\b", lambda match: ", ".join(match[1] + axis for axis in axes), text)
    text = text.replace("1, 1)", ", ".join("1" * len(axes)) + ")").replace("HW", "".join(axes))
    return text.replace("2d", f"{len(axes)}d").replace("2-D", f"{len(axes)}-D")
