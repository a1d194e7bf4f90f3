"""Transforms of tiles and kernels through scipy.fft, and their products per frequency, in two orders of memory.

Arrays are used as (tile, group, channel, three axes) and (group, source, target, three axes), the last ``rank`` axes
transformed. With few channels they lie in memory like that and are multiplied plane by plane; with more, channels lie
innermost and each frequency is a matrix product, done by BLAS without a copy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...._late import late
from .overlap_save import Tiling

PLANES = (0, 1, 2, 3, 4, 5)
TILES_BY_MATRICES = (0, 3, 4, 5, 1, 2)
KERNELS_BY_MATRICES = (3, 4, 5, 0, 1, 2)


class Spectra:
    """Arrays, transforms and products of one tiling."""

    def __init__(self, tiling: Tiling):
        self.tiling = tiling
        self.dtype = np.dtype(tiling.problem.dtype)
        self.spectral_dtype = np.result_type(self.dtype, np.complex64)
        self.by_matrices = tiling.by_matrices
        self.tile_order = TILES_BY_MATRICES if self.by_matrices else PLANES
        self.kernel_order = KERNELS_BY_MATRICES if self.by_matrices else PLANES

    def tile_array(self, memory: np.ndarray, *shape: int) -> np.ndarray:
        """(tile, group, channel, three axes) of ``shape`` in the first elements of ``memory``."""
        return _ordered(memory, shape, self.tile_order)

    def kernel_array(self, memory: np.ndarray, *shape: int) -> np.ndarray:
        """(group, source, target, three axes) of ``shape`` in the first elements of ``memory``."""
        return _ordered(memory, shape, self.kernel_order)

    def of_tiles(self, tiles: np.ndarray) -> np.ndarray:
        """Spectra of gathered tiles."""
        return self._forward(tiles, self.tile_order)

    def of_kernels(self, kernels: np.ndarray) -> np.ndarray:
        """Spectra of kernels."""
        return self._forward(kernels, self.kernel_order)

    def to_tiles(self, spectra: np.ndarray) -> np.ndarray:
        """Tiles from their spectra."""
        return self._backward(spectra, self.tile_order)

    def to_kernels(self, spectra: np.ndarray) -> np.ndarray:
        """Kernels from their spectra."""
        return self._backward(spectra, self.kernel_order)

    def _axes(self, order: tuple[int, ...]) -> list[int]:
        return [order.index(axis) for axis in range(6 - self.tiling.rank, 6)]

    def _forward(self, array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        transform: Any = late("scipy.fft").fftn if self.dtype.kind == "c" else late("scipy.fft").rfftn
        return transform(array.transpose(order), axes=self._axes(order)).transpose(np.argsort(order))

    def _backward(self, array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        transform: Any = late("scipy.fft").ifftn if self.dtype.kind == "c" else late("scipy.fft").irfftn
        sizes = self.tiling.tile[3 - self.tiling.rank :]
        return transform(array.transpose(order), sizes, axes=self._axes(order)).transpose(np.argsort(order))

    def multiply(self, sources: np.ndarray, kernels: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """out[tile, group, t] = sum over s of sources[tile, group, s] * kernels[group, s, t]."""
        if self.by_matrices:
            np.matmul(self._matrices(sources), self._kernel_matrices(kernels), out=self._matrices(out))
            return
        np.multiply(sources[:, :, 0, None], kernels[:, 0], out=out)
        for s in range(1, sources.shape[2]):
            out += np.multiply(sources[:, :, s, None], kernels[:, s], out=self.tile_array(scratch, *out.shape))

    def add_products(self, sources: np.ndarray, targets: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """out[group, s, t] += sum over tiles and untransformed axes of sources[..., s] * targets[..., t]."""
        if self.by_matrices:
            matrices = self._kernel_matrices(out)
            product = scratch[: matrices.size].reshape(matrices.shape)
            matrices += np.matmul(self._matrices(sources).swapaxes(2, 3), self._matrices(targets), out=product)
            return
        product = scratch[: targets[0].size].reshape(targets.shape[1:])
        untransformed = tuple(range(2, 5 - self.tiling.rank))
        for tile_sources, tile_targets in zip(sources, targets, strict=True):
            for s in range(sources.shape[2]):
                np.multiply(tile_sources[:, s, None], tile_targets, out=product)
                out[:, s] += product.sum(axis=untransformed, keepdims=True)

    def _matrices(self, tiles: np.ndarray) -> np.ndarray:
        """(frequency, group, row, channel) view; rows are tiles and elements along untransformed axes."""
        memory = tiles.transpose(self.tile_order)
        frequencies = math.prod(tiles.shape[6 - self.tiling.rank :])
        return memory.reshape(-1, frequencies, *tiles.shape[1:3]).transpose(1, 2, 0, 3)

    def _kernel_matrices(self, kernels: np.ndarray) -> np.ndarray:
        """(frequency, group, source, target) view."""
        return kernels.transpose(self.kernel_order).reshape(-1, *kernels.shape[:3])


def _ordered(memory: np.ndarray, shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """An array of ``shape`` whose axes lie in memory in ``order``."""
    array = memory[: math.prod(shape)].reshape([shape[axis] for axis in order])
    return array.transpose(np.argsort(order))
