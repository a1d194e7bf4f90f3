"""Activations and their slopes by their formulas, in double precision."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf


def activate(z: np.ndarray, activation: str | None, slope: float | None) -> np.ndarray:
    """The activation of z."""
    with np.errstate(all="ignore"):
        match activation:
            case "relu":
                return np.maximum(z, 0)
            case "relu6":
                return np.minimum(np.maximum(z, 0), 6)
            case "leaky_relu":
                return np.where(z < 0, z * (0.01 if slope is None else slope), z)
            case "silu":
                return z / (1 + np.exp(-z))
            case "gelu":
                return z / 2 * (1 + erf(z / math.sqrt(2)))
            case "tanh":
                return np.tanh(z)
            case "sigmoid":
                return 1 / (1 + np.exp(-z))
    return z


def slope_of(z: np.ndarray, dy: np.ndarray, activation: str | None, slope: float | None) -> np.ndarray:
    """dy times the slope of the activation at z; no dy at all passes where relu and relu6 are flat."""
    with np.errstate(all="ignore"):
        match activation:
            case "relu":
                return np.where(z <= 0, 0, dy)
            case "relu6":
                return np.where((z <= 0) | (z >= 6), 0, dy)
            case "leaky_relu":
                return np.where(z > 0, dy, dy * (0.01 if slope is None else slope))
            case "silu":
                gate = 1 / (1 + np.exp(-z))
                return dy * gate * (1 + z * (1 - gate))
            case "gelu":
                return dy * (0.5 * (1 + erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi))
            case "tanh":
                return dy * (1 - np.tanh(z) ** 2)
            case "sigmoid":
                gate = 1 / (1 + np.exp(-z))
                return dy * gate * (1 - gate)
    return dy
