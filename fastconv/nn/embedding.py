"""Embedding: rows of a table by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import initial
from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value

if TYPE_CHECKING:
    pass

MATRIX_ELEMENTS = 2**24
"""Of the matrices of ones and zeros by which gradients are summed on a GPU."""


class Embedding(Module):
    """Rows of ``weight`` in place of their numbers, as ``torch.nn.Embedding``: (N, L) to (N, L, D).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows of the table, and their length.
    padding_idx : int, optional
        The row that stands for padding: it begins as zeros and takes no gradient.
    dtype : dtype or its name, default "float32"

    Raises
    ------
    TypeError, ValueError
        When called: if the numbers are not integers, or none of a row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Embedding(10, 4)(np.array([[1, 2, 9]])).shape
    (1, 3, 4)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = "float32"
    ) -> None:
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx: got {padding_idx}; allowed: a row of {num_embeddings}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = initial.normal((num_embeddings, embedding_dim), dtype)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, x: Array) -> Array:
        if x.dtype.kind not in "iu":
            raise TypeError(f"x: got dtype {x.dtype}; allowed: integers, the numbers of rows")
        # Where it would make the host wait for a device, the range is not checked.
        if isinstance(x, np.ndarray) and x.size and not 0 <= x.min() <= x.max() < self.num_embeddings:
            raise ValueError(f"x: got numbers from {x.min()} to {x.max()}; allowed: 0 to {self.num_embeddings - 1}")
        self.keep(x)
        return self.weight.data[x]

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x = self.kept()
        self.weight.add_gradient(lambda out: self._gradient(dy, x, out))
        return None

    def _gradient(self, dy: Array, x: Array, out: Array | None) -> Array:
        rows, numbers = dy.reshape(-1, self.embedding_dim), x.reshape(-1)
        if dy.dtype.itemsize == 2:
            rows = rows.astype("float32")
        if isinstance(dy, np.ndarray):
            result = np.zeros(self.weight.shape, rows.dtype)
            np.add.at(result, numbers, rows)
        else:
            result = _summed_by_products(rows, numbers, self.num_embeddings)
        if self.padding_idx is not None:
            result[self.padding_idx] = 0
        if out is None:
            return result.astype(self.weight.dtype, copy=False)
        out[...] = result
        return out

    def lower(self, graph: Graph, x: Value) -> Value:
        if x.dtype.kind not in "iu":
            raise TypeError(f"x: got dtype {x.dtype}; allowed: integers, the numbers of rows")
        return graph.rows(x, self.weight.data)

    def describe(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _summed_by_products(rows: Array, numbers: Array, count: int) -> Array:
    """The sum of all rows of each number, by a matrix of ones and zeros: in an order that is the same each time, which
    atomic additions of a device are not in."""
    xp = array_module(rows)
    result = xp.empty((count, rows.shape[1]), rows.dtype)
    step = max(1, MATRIX_ELEMENTS // max(len(numbers), 1))
    for begin in range(0, count, step):
        end = min(begin + step, count)
        is_row = xp.arange(begin, end).reshape(-1, 1) == numbers.reshape(1, -1)
        result[begin:end] = is_row.astype(rows.dtype) @ rows
    return result
