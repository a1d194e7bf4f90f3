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
    Elements added on each side of the input, zeros by default; a negative number in a pair crops. Words: "valid"
    (none), "same" (result size = ceil(input size / stride); of an odd number, one more at the end), "same_lower" (one
    more at the start), "full" (``dilation * (k - 1)`` on both sides) and, for 1-D, "causal" (the same at the start
    only), in upper or lower case. A flat list of before and after numbers is refused, because libraries disagree on its
    order.
dilation : int or one int per axis, default 1
    Distance between neighbouring elements of the kernel.
""",
    "transposed_stride": """
{stride}
    These three are those of the convolution whose adjoint this is: padding makes the result smaller.
""",
    "groups": """
groups : int, default 1
    Input and output channels are split into this many groups; an output channel sees only the inputs of its own group.
""",
    "layouts": """
{data_layout}
w_layout : {"OIHW", "HWIO", "OHWI", "IOHW"}, optional
    Order of the weight's axes; default "OIHW".
""",
    "padding_mode": """
padding_mode : {"zeros", "constant", "reflect", "replicate", "circular", "symmetric"}, or one per axis, default "zeros"
    What the padding is filled with, as in ``np.pad``, whose names "edge" and "wrap" are accepted too: zeros,
    ``padding_value``, or elements of x, which are repeated as often as the padding is wide.
""",
    "epilogue": """
activation : str or ("leaky_relu", slope), optional
    Applied last: "relu", "relu6", "leaky_relu" (slope 0.01), "silu", "gelu" (exact), "tanh" or "sigmoid".
add : array, optional
    A residual of the result's shape, added after the bias and before the activation.
""",
    "how": """
precision : {"ieee", "highest", "high", "medium"}, optional
    How accurate a float32 call must be (see ``set_precision``). Default: ``get_precision()``. Unless changed, that is
    "high", which allows errors of up to 1e-5 of the largest result on typical data.
{algorithm}
""",
    "algorithm": """
algorithm : str, default "auto"
    Name of the algorithm to use; "auto" takes the fastest one known for the problem.
threads : int, optional
    Default: ``get_num_threads()``. The result does not depend on it.
""",
    "pool": """
kernel_size : int or one int per axis
stride : int or one int per axis, optional
    Default: kernel_size. None and () mean the same, as in torch.
padding : int, one int per axis, one (before, after) pair per axis, or a word, default 0
    Elements added on each side of the input. An int may be at most half the kernel size, a number in a pair at most
    ``dilation * (k - 1)``. Words: "valid" (none), "same" (result size = ceil(input size / stride); of an odd number,
    one more at the end), "same_lower" (one more at the start), "full" (``dilation * (k - 1)`` on both sides) and,
    for 1-D, "causal" (the same at the start only).
""",
    "pool_dilation": """
dilation : int or one int per axis, default 1
    Distance between neighbouring elements of a window.
""",
    "ceil_mode": """
ceil_mode : bool, default False
    Round the result's size up instead of down. The last window may then reach past the padded input, but is left out
    if it would start in the padding at the end.
""",
    "return_indices": """
return_indices : bool, default False
    Also return the positions of the maxima, as flat indices (int64) into the spatial axes of x.
""",
    "divisor": """
count_include_pad : bool, default True
    Whether elements of the padding count when a window is averaged.
divisor_override : int, optional
    Divide by this number instead of the number of elements.
""",
    "data_layout": """
layout : {"NCHW", "NHWC"}, optional
    Order of the axes of all data arrays; default "NCHW".
""",
    "output_size": """
output_size : int or None, or one of them per axis
    Spatial size of the result; None keeps the size of x.
""",
    "keepdims": """
keepdims : bool, default True
    Whether to keep the spatial axes, with size 1.
""",
    "global_layout": """
layout : str, optional
    "channels_first" (default) or "channels_last"; with up to three spatial axes also names like "NCHW" and "NHWC".
""",
    "threads": """
threads : int, optional
    Default: ``get_num_threads()``. The result does not depend on it.
""",
    "maximum_gradient": """
x : array, or its shape if ``indices`` are given
    The forward function's input.
indices : array of int64, optional
    The indices that the forward function returned with ``return_indices``; without them they are computed again from x.
""",
    "average_gradient": """
x : array or its shape
    The forward function's input.
""",
    "block_kernel": """
kernel_size : int or one int per axis
    One int per axis also says how many spatial axes there are. With an int there are two, as in torch, unless x has
    2 axes (then one) or 5 (then three).
""",
    "blocks": """
dilation : int or one int per axis, default 1
    Distance between neighbouring elements of a block.
padding : int, one int per axis, one (before, after) pair per axis, or a word, default 0
    Zeros added on each side of the image; a negative number in a pair crops. Words as in ``conv2d``: "valid", "same",
    "same_lower", "full" and, for 1-D, "causal".
stride : int or one int per axis, default 1
    Distance between neighbouring blocks.
""",
    "out": """
out : array, optional
    Array to write the result to, of its shape and dtype, with any strides. It may overlap the inputs.
""",
    "outs": """
out : tuple of three arrays or None, optional
    Arrays to write the gradients to, of their shapes and dtype, with any strides; None in it: a new array. They may
    overlap the inputs.
""",
    "four_outs": """
out : tuple of four arrays or None, optional
    Arrays to write the results to, of their shapes and dtypes, with any strides; None in it: a new array.
""",
    "options": """
**options
    padding_value : number, default 0
        Of the padding on axes of ``padding_mode`` "constant"; in corners beyond an axis padded with zeros, too, zeros.
    input_dilation : int or one int per axis, default 1
        Distance between neighbouring elements of x, with zeros between, before padding; ``lhs_dilation`` of XLA.
    batch_group_count : int, default 1
        The batch and the output channels are split into this many groups, and each group of channels is computed from
        its group of images: the result's batch is that much smaller. As in XLA; with ``groups=1`` alone.
{plain_cast_options}
""",
    "cast_options": """
**options
{plain_cast_options}
""",
    "plain_cast_options": """
    promote : bool, default False
        Whether arrays of several dtypes are cast to the one that NumPy promotes them to, which all results then have.
    accumulate_dtype : str or dtype, optional
        "float64": compute in double precision, and round the results. Half floats are summed in "float32" anyway.
    allow_empty : bool, default False
        Whether a kernel that reaches over more than the padded input gives a result without elements, and gradients of
        zeros, instead of a ValueError.
""",
    "normalized": """
eps : float, default 1e-5
    Added to variances.
activation : str or ("leaky_relu", slope), optional
    Applied last: "relu", "relu6", "leaky_relu" (slope 0.01), "silu", "gelu" (exact), "tanh" or "sigmoid".
add : array, optional
    A residual of the shape and dtype of x, added before the activation.
{threads}
{out}
""",
    "normalized_gradient": """
eps : float, default 1e-5
activation : str or ("leaky_relu", slope), optional
    As in the forward function; what it was applied to is computed again from x.
""",
    "normalized_needs": """
needs : three bools, default (True, True, True)
    Which of dx, dweight and dbias to compute.
{threads}
out : array, optional
    Array to write dx to, of its shape and dtype, with any strides. It may overlap the inputs; dy itself will do.
""",
    "needs": """
needs : three bools, default (True, True, True)
    Which of dx, dw and db to compute.
""",
    "four_needs": """
needs : four bools, default (True, True, True, True)
    Which of the results to compute.
""",
    "gradients": """
(dx, dw, db) : arrays of the shapes and dtype of x, w and bias
    None where ``needs`` is False. db is dy summed over all axes but the channels, even if there is no bias. With an
    ``activation``, what it was applied to is computed again first. Gradients of complex arrays are products with
    conjugates, as in torch.
""",
    "separable_gradients": """
(dx, dw_depthwise, dw_pointwise, db) : arrays of the shapes and dtype of x, the weights and bias
    None where ``needs`` is False; otherwise as in ``conv2d_backward``. The depthwise result is computed again.
""",
    "depthwise_weight": """
w : array, (C * m, 1, kH, kW)
    m kernels for each of the C channels of x; channel c gives the channels c * m to c * m + m - 1 of the result.
""",
    "zero_points": """
x_zero_point : int, default 0
    The value in x that stands for zero.
w_zero_point : int or (K,) ints, default 0
    The value in w that stands for zero, one for all output channels or one for each.
""",
    "input_and_dy": """
Parameters
----------
input_shape : ints
    Shape of x, in its layout.
w : array
dy : array
    Gradient with respect to the forward function's result, and of its shape.
""",
    "weight_and_dy": """
Parameters
----------
x : array
weight_shape : ints
    Shape of w, in its layout.
dy : array
    Gradient with respect to the forward function's result, and of its shape.
""",
    "of_forward": """
{stride}
{groups}
{padding_mode}
{layouts}
{how}
{out}
{options}

{one_gradient}
""",
    "of_transposed_forward": """
{transposed_stride}
output_padding : int or one int per axis, default 0
    As in the forward function.
{groups}
output_size : one int per axis, optional
    As in the forward function. This or ``output_padding`` determines the shape of dy.
{layouts}
{how}
{out}
{cast_options}

{one_gradient}
""",
    "one_gradient": """
Returns
-------
array of the shape asked for and the dtype of dy
    Gradients of complex arrays are products with conjugates, as in torch.

{raises}
""",
    "raises": """
Raises
------
ValueError, TypeError
    If shapes, dtypes or settings are wrong or do not fit together. The message names the argument, what it was and what
    is allowed. Nothing has been computed then.
MemoryError
    If there is not enough memory for the result.
""",
}


AS_IN = re.compile(
    r"^Parameters, result and errors are as in ``(\w+)``, with axes \(([DHW, ]+)\) in place of \(H, W\)\.$",
    re.MULTILINE,
)

_whole: dict[str, str] = {}
"""The docstrings that say everything themselves."""
_waiting: dict[str, list[Callable[..., object]]] = {}
"""Functions documented like one that has not been seen yet."""


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
