# cython: cdivision=True
"""Kernels with the filters of all groups as lanes: a pass over all correlations, or a weight gradient in splits."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t
from libc.string cimport memset

from .correlation cimport ALL_IS_SPOILED, DONE, BoundProblem, Kernel, operands_t, packed_memory, point_forward
from .kernel_types cimport correlation_t, epilogue_t, tap_count
from .workspace cimport aligned


cdef extern from "integers.h" nogil:
    int64_t round_up(int64_t a, int64_t b)


cdef int64_t element_bytes(str dtype) noexcept:
    return 4 if dtype == "float32" else 8


cdef class PhasesKernel(Kernel):
    """The correlations of a problem: the weights of all, then one pass.

    Leaves all of forward with weights that are not finite, which make NaN of the zeros around the source. ``shared_bytes`` of
    the workspace are for weights, then come ``thread_bytes`` for every thread. A class of this one sets both.
    """

    cdef int64_t _weight_bytes(self):
        """Of the packed weights of all phases."""
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        cdef int64_t index, factors = 0
        memset(&none, 0, sizeof(none))
        for index in range(self.correlation.phase_count):
            c = self.correlation.phase(&none, index, &epilogue)
            factors += self._factors(&c)
        return round_up(factors * element_bytes(self.correlation.problem.dtype), 64)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef packed_phase_t *phases
        cdef Py_buffer view
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        phases = <packed_phase_t *>PyMem_Malloc(self.correlation.phase_count * sizeof(packed_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            if packed is None:
                if self._lay(phases, operands, workspace, True) and self.is_forward:
                    return ALL_IS_SPOILED
                return self._correlate(phases, workspace + self.shared_bytes, threads)
            self._lay(phases, operands, packed_memory(packed, self.shared_bytes, &view), False)
            try:
                return self._correlate(phases, workspace + self.shared_bytes, threads)
            finally:
                PyBuffer_Release(&view)
        finally:
            PyMem_Free(phases)

    def pack(self, operands):
        """The weights of all phases, one behind the other; None where one is not finite: then every call packs them."""
        cdef BoundProblem bound = BoundProblem(self.correlation.problem, operands)
        cdef packed_phase_t *phases
        cdef Py_buffer view
        cdef int spoiled
        packed = aligned(self.shared_bytes)
        phases = <packed_phase_t *>PyMem_Malloc(self.correlation.phase_count * sizeof(packed_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
            try:
                spoiled = self._lay(phases, &bound.operands, <char *>view.buf, True)
            finally:
                PyBuffer_Release(&view)
        finally:
            PyMem_Free(phases)
        packed.flags.writeable = False
        return None if spoiled else packed

    cdef int _lay(self, packed_phase_t *phases, const operands_t *operands, char *factors, bint packs) except -1:
        """The phases, of which no two share a tap, with their weights at ``factors``, packed now if they are not there
        yet; whether one of these is not finite."""
        cdef packed_phase_t *phase
        cdef int64_t index
        cdef char spoiled = 0
        for index in range(self.correlation.phase_count):
            phase = &phases[index]
            phase.correlation = self.correlation.phase(operands, index, &phase.epilogue)
            point_forward(&phase.correlation, operands.itemsize)
            phase.factors, phase.spoiled = factors, &spoiled
            if packs:
                self._pack_phase(phase)
            factors += self._factors(&phase.correlation) * operands.itemsize
        return spoiled

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        """Elements of the packed weights of a phase."""
        return 0

    cdef int _pack_phase(self, const packed_phase_t *phase) except -1:
        raise NotImplementedError

    cdef int _correlate(self, const packed_phase_t *phases, char *scratch, int threads) except -1:
        raise NotImplementedError


# Arithmetic of one item of one pass over a weight gradient: KeyboardInterrupt waits for the items begun.
cdef int64_t PASS_MULTIPLY_ADDS = 2**26


cdef class RowSplitsKernel(Kernel):
    """backward_weight: sums of ``splits`` of the rows, the filters in ``parts`` items each.

    Leaves all where a sum is not finite: a gradient that is not makes NaN of the zeros around the source. ``shared_bytes`` of
    the workspace are for sums, then come ``thread_bytes`` for every thread. A class of this one sets both.
    """

    cdef int64_t _sum_bytes(self, const correlation_t *c, int64_t lanes):
        """Of the sums of all splits."""
        cdef int64_t filters = round_up(c.groups * c.filters, lanes)
        return round_up(self.splits * filters * tap_count(c) * c.channels * element_bytes(self.correlation.problem.dtype), 64)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef row_splits_t splits
        cdef epilogue_t epilogue
        cdef char spoiled = 0
        cdef int64_t products, first
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        splits.correlation = self.correlation.phase(operands, 0, &epilogue)
        splits.splits, splits.parts, splits.partial, splits.spoiled = self.splits, self.parts, workspace, &spoiled
        products = tap_count(&splits.correlation) * splits.correlation.channels * splits.correlation.groups * splits.correlation.filters
        splits.pass_rows = max(PASS_MULTIPLY_ADDS * self.parts // (splits.correlation.pixels[2] * products), 1)
        for first in range(0, split_rows(&splits), splits.pass_rows):
            splits.pass_first = first
            self._add_rows(&splits, workspace + self.shared_bytes, threads)
        self._reduce(&splits, threads)
        return ALL_IS_SPOILED if spoiled else DONE

    cdef int _add_rows(self, const row_splits_t *splits, char *scratch, int threads) except -1:
        """One pass."""
        raise NotImplementedError

    cdef int _reduce(self, const row_splits_t *splits, int threads) except -1:
        """The result from the sums of all splits."""
        raise NotImplementedError
