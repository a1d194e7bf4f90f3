"""The epilogue on a whole result, for algorithms that do not fuse it into their stores."""

from __future__ import annotations

import numpy as np

from .._algorithm import Operands
from .._problem import ConvProblem, Epilogue


def apply(problem: ConvProblem, operands: Operands) -> None:
    """result = activation(result + bias + add), in place."""
    result = operands.input if problem.direction == "backward_input" else operands.output
    if operands.bias is not None:
        result += operands.bias.reshape(-1, 1, 1, 1)
    if operands.add is not None:
        result += operands.add
    if problem.epilogue.activation is not None:
        result[...] = activate(problem.epilogue, result)


def activate(epilogue: Epilogue, z: np.ndarray) -> np.ndarray:
    """The activation of ``z``; NaN stays NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        match epilogue.activation:
            case "relu":
                return np.where(z < 0, z.dtype.type(0), z)
            case "relu6":
                return z.clip(0, 6)
            case "leaky_relu":
                return np.where(z < 0, z * z.dtype.type(epilogue.slope), z)
            case "silu":
                return z / (1 + np.exp(-z))
            case "gelu":
                return z * z.dtype.type(0.5) * (1 + _erf(z * z.dtype.type(0.5**0.5)))
            case "tanh":
                return np.tanh(z)
            case "sigmoid":
                return 1 / (1 + np.exp(-z))
    return z


def activation_slope(epilogue: Epilogue, z: np.ndarray) -> np.ndarray:
    """The derivative of the activation at ``z``; 0 at the kinks of relu and relu6, as in torch."""
    one = z.dtype.type(1)
    with np.errstate(over="ignore", invalid="ignore"):
        match epilogue.activation:
            case "relu":
                return (z > 0).astype(z.dtype)
            case "relu6":
                return ((z > 0) & (z < 6)).astype(z.dtype)
            case "leaky_relu":
                return np.where(z > 0, one, z.dtype.type(epilogue.slope))
            case "silu":
                gate = 1 / (1 + np.exp(-z))
                return gate * (1 + z * (1 - gate))
            case "gelu":
                density = np.exp(-z * z / 2) * z.dtype.type((2 * np.pi) ** -0.5)
                return z.dtype.type(0.5) * (1 + _erf(z * z.dtype.type(0.5**0.5))) + z * density
            case "tanh":
                return 1 - np.tanh(z) ** 2
            case "sigmoid":
                gate = 1 / (1 + np.exp(-z))
                return gate * (1 - gate)
    return np.ones_like(z)


def _erf(z: np.ndarray) -> np.ndarray:
    from scipy.special import erf  # imported late: `import fastconv` must stay cheap

    return erf(z)
