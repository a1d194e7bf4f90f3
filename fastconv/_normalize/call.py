"""ConvCall: one normalised call; and how a described problem and its arrays become one, for each direction.

The ``problem`` passed in is that of the direction; a plan keeps it from call to call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .._backend import CPU, Backend, backend_of
from .._border import Border
from .._errors import unfit
from .._problem import ConvProblem
from .arrays import check_out
from .frame import Frame
from .settings import Described


@dataclass
class ConvCall:
    """What to compute, on which arrays, and how the result looks to the user."""

    problem: ConvProblem
    frame: Frame
    input: np.ndarray | None = None
    weight: np.ndarray | None = None
    output: np.ndarray | None = None
    bias: np.ndarray | None = None
    add: np.ndarray | None = None
    out: np.ndarray | None = None
    conjugated: str | None = None
    """The operand whose conjugate is multiplied: gradients of complex convolutions follow torch."""
    packed: object = None
    """The weight in the planned algorithm's own layout."""
    subtracted: dict[str, np.ndarray] = field(default_factory=dict)
    """Zero points of 8-bit operands, as canonical int16 arrays of their shapes."""
    border: Border | None = None
    """Padding of the input that is not zeros; the problem is that of the padded one, the array is not."""
    backend: Backend = CPU

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the result in the user's layout."""
        shape = self.problem.result_shape
        if self.border is not None and self.problem.direction == "backward_input":
            shape = (*shape[:2], *self.border.sizes)
        is_weight = self.problem.direction == "backward_weight"
        return self.frame.weights_shape(shape) if is_weight else self.frame.data_shape(shape)


def forward_call(
    described: Described,
    problem: ConvProblem,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    add: np.ndarray | None = None,
    out: object = None,
) -> ConvCall:
    """The convolution, or the transposed one, of arrays that have the described shapes."""
    call = ConvCall(problem, described.frame, weight=w, bias=bias, add=add, backend=backend_of(x))
    call.out = None if out is None else check_out(out, described.y_shape, x.dtype, x)
    if described.transposed:
        call.output = x
    else:
        call.input, call.border = x, described.border
    return call


def input_gradient_call(
    described: Described, problem: ConvProblem, dy: np.ndarray, w: np.ndarray, out: object = None
) -> ConvCall:
    """The gradient for x."""
    check_shape("dy", dy, described.y_shape)
    call = ConvCall(problem, described.frame, weight=w, backend=backend_of(dy))
    call.conjugated = _if_complex("weight", w)
    checked = None if out is None else check_out(out, described.x_shape, dy.dtype, dy)
    if described.transposed:
        call.input = dy
    else:
        call.output = dy
    call.out, call.border = checked, described.border
    return call


def weight_gradient_call(
    described: Described, problem: ConvProblem, x: np.ndarray, dy: np.ndarray, out: object = None
) -> ConvCall:
    """The gradient for w."""
    check_shape("dy", dy, described.y_shape)
    call = ConvCall(problem, described.frame, backend=backend_of(dy))
    call.out = None if out is None else check_out(out, described.w_shape, dy.dtype, dy)
    if described.transposed:
        call.input, call.output, call.conjugated = dy, x, _if_complex("output", x)
    else:
        call.input, call.output, call.conjugated = x, dy, _if_complex("input", x)
        call.border = described.border
    return call


def check_epilogue_shapes(described: Described, bias: np.ndarray | None, add: np.ndarray | None) -> None:
    """A ValueError unless bias and add fit the forward's result."""
    if bias is not None:
        check_shape("bias", bias, (described.y_channels,))
    if add is not None:
        check_shape("add", add, described.y_shape)


def check_shape(argument: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """A ValueError unless ``array`` has ``shape``."""
    if array.shape != shape:
        raise unfit(argument, f"shape {array.shape}", f"shape {shape}")


def _if_complex(role: str, array: np.ndarray) -> str | None:
    return role if array.dtype.kind == "c" else None
