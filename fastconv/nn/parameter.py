"""Parameter and Buffer: the arrays that a module owns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


class Tensor:
    """An array that a module owns under a name, and that stays the same object while the network is trained.

    Attributes
    ----------
    data : array
        NumPy's or CuPy's.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.data.shape
        return shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.data.dtype)

    def is_floating(self) -> bool:
        """Whether the numbers are real ones; bfloat16 is none of NumPy's own kinds."""
        return self.dtype.kind == "f" or self.dtype.name == "bfloat16"

    def astype(self, dtype: Any) -> None:
        """Convert, where the numbers are floating point ones."""
        if self.is_floating():
            self.data = self.data.astype(dtype, copy=False)

    def to(self, array_module: Any) -> None:
        """Move to ``numpy`` or ``cupy``."""
        self.data = _moved(self.data, array_module)

    def load(self, values: Any) -> None:
        """Overwrite the numbers, converted to the dtype that is there."""
        self.data[...] = array_module(self.data).asarray(values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape}, {self.dtype})"


class Buffer(Tensor):
    """What belongs to the state of a module but is not trained, as running statistics."""

    __slots__ = ()


class Parameter(Tensor):
    """What is trained: an array and the gradient of the loss for it.

    Attributes
    ----------
    is_trained : bool
        Whether gradients are computed; ``Module.freeze`` changes it.
    when_ready : callable or None
        Called with the parameter each time that a gradient has been added.
    """

    __slots__ = ("_gradient", "_is_current", "is_trained", "when_ready")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self._gradient: Any = None
        self._is_current = False
        self.is_trained = True
        self.when_ready: Callable[[Parameter], None] | None = None

    @property
    def grad(self) -> Any:
        """The sum of the gradients since ``zero_grad``; None where there is none."""
        return self._gradient if self._is_current else None

    @grad.setter
    def grad(self, gradient: Any) -> None:
        self._gradient, self._is_current = gradient, gradient is not None

    def zero_grad(self) -> None:
        """Have the next gradient replace the one that is there. Its memory is kept and used again."""
        self._is_current = False

    def add_gradient(self, compute: Callable[[Any], Any]) -> None:
        """Add a gradient.

        Parameters
        ----------
        compute : callable
            ``compute(out)`` writes the gradient to ``out``, or to a new array where that is None, and returns it.
        """
        if not self.is_trained:
            return
        if self._is_current:
            self._gradient += compute(None)
        else:
            self._gradient = compute(self._gradient)
            self._is_current = True
        if self.when_ready is not None:
            self.when_ready(self)

    def astype(self, dtype: Any) -> None:
        """Convert; a gradient is dropped."""
        super().astype(dtype)
        self._gradient, self._is_current = None, False

    def to(self, array_module: Any) -> None:
        """Move; a gradient is dropped."""
        super().to(array_module)
        self._gradient, self._is_current = None, False


def array_module(array: Any) -> Any:
    """``numpy`` or ``cupy``, whichever the array is of."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def overwritable(dy: Any) -> Any:
    """Where the gradient of an input is written: over that of the result, if that is possible; else None."""
    is_read_only = isinstance(dy, np.ndarray) and not dy.flags.writeable
    return None if is_read_only or not dy.flags.c_contiguous else dy


def _moved(data: Any, array_module: Any) -> Any:
    if isinstance(data, np.ndarray) or array_module is not np:
        return array_module.asarray(data)
    return data.get()
