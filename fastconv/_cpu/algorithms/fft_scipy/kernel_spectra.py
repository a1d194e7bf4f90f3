"""Kernels laid out in tiles, to their spectra and back; see overlap_save.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...blocks import Box, boxes, run
from .overlap_save import BLOCK_BYTES
from .spectra import Spectra


class Kernels:
    """A weight of canonical axes, read or written as (group, source, target, three axes)."""

    def __init__(self, spectra: Spectra, weight: np.ndarray, threads: int):
        self.spectra, self.tiling = spectra, spectra.tiling
        self.problem = self.tiling.problem
        self.weight = self.tiling.weights(weight)
        self.threads = threads
        self.backward = self.problem.direction == "backward_input"

    def array(self, memory: np.ndarray) -> np.ndarray:
        """Spectra of all kernels in ``memory``."""
        t = self.tiling
        return self.spectra.kernel_array(memory, self.problem.groups, t.sources, t.targets, *t.kernel_spectrum)

    def transformed(self, memory: np.ndarray) -> np.ndarray:
        """The weight's spectra, in ``memory``; those of reversed kernels for forward."""
        spectra = self.array(memory)

        def compute(box: Box, slot: int) -> None:
            weight, target = self._part(self.weight, box), self._part(spectra, box)
            zeros = np.zeros(math.prod(target.shape[:3]) * math.prod(self.tiling.kernel_tile), self.spectra.dtype)
            kernels = self.spectra.kernel_array(zeros, *target.shape[:3], *self.tiling.kernel_tile)
            for number, phase in enumerate(self.tiling.phases):
                taps, places = self.tiling.kernel_places(phase, reverse=self.problem.direction == "forward")
                self._of_phase(kernels, number)[places] = weight[taps]
            target[...] = self.spectra.of_kernels(kernels)

        run(compute, self._boxes(), self.threads)
        return spectra

    def checked(self, spectra: np.ndarray) -> np.ndarray:
        """What ``transformed`` returned, a ValueError for anything of another size."""
        if np.size(spectra) != self.tiling.kernel_spectra:
            raise ValueError("w: got packed weights of another size; allowed: those that pack returned")
        return spectra

    def transform_back(self, spectra: np.ndarray) -> bool:
        """Write the weight from its spectra, the last elements of their tiles; False where it is not finite."""
        spoiled: list[Box] = []
        last: tuple[Any, ...] = (..., *(slice(-taps, None) for taps in self.tiling.taps))

        def compute(box: Box, slot: int) -> None:
            weight = self._part(self.weight, box)
            kernels = self.spectra.to_kernels(self._part(spectra, box))[last]
            if not np.isfinite(kernels.sum()):
                spoiled.append(box)
            for number, phase in enumerate(self.tiling.phases):
                taps, places = self.tiling.kernel_places(phase)
                weight[taps] = self._of_phase(kernels, number)[places]

        run(compute, self._boxes(), self.threads)
        return not spoiled

    def _boxes(self) -> list[Box]:
        """Slices of (group, channel of the side without phases)."""
        t = self.tiling
        plain, phased = (t.sources, t.targets) if self.backward else (t.targets, t.sources)
        size = phased * math.prod(t.kernel_tile) * self.spectra.dtype.itemsize
        return boxes((self.problem.groups, plain), max(1, BLOCK_BYTES // max(1, size)))

    def _part(self, kernels: np.ndarray, box: Box) -> np.ndarray:
        groups, plain = box
        return kernels[groups, plain] if self.backward else kernels[groups, :, plain]

    def _of_phase(self, kernels: np.ndarray, number: int) -> np.ndarray:
        phase = self.tiling.phase_channels(number)
        return kernels[:, :, phase] if self.backward else kernels[:, phase]
