from libc.stdint cimport int64_t

from .correlation cimport Kernel, operands_t
from .kernel_types cimport correlation_t, epilogue_t


cdef extern from "filter_lanes.h" nogil:
    ctypedef struct packed_phase_t:
        correlation_t correlation
        epilogue_t epilogue
        char *factors
        char *spoiled

    ctypedef struct row_splits_t:
        correlation_t correlation
        int64_t splits, parts, pass_first, pass_rows
        char *partial
        char *spoiled

    int64_t split_rows(const row_splits_t *job)


cdef class PhasesKernel(Kernel):
    cdef bint is_forward
    cdef readonly int64_t shared_bytes, thread_bytes

    cdef int64_t _weight_bytes(self)
    cdef int _lay(self, packed_phase_t *phases, const operands_t *operands, char *factors, bint packs) except -1
    cdef int64_t _factors(self, const correlation_t *c) noexcept
    cdef int _pack_phase(self, const packed_phase_t *phase) except -1
    cdef int _correlate(self, const packed_phase_t *phases, char *scratch, int threads) except -1


cdef class RowSplitsKernel(Kernel):
    cdef int64_t splits, parts
    cdef readonly int64_t shared_bytes, thread_bytes

    cdef int64_t _sum_bytes(self, const correlation_t *c, int64_t lanes)
    cdef int _add_rows(self, const row_splits_t *splits, char *scratch, int threads) except -1
    cdef int _reduce(self, const row_splits_t *splits, int threads) except -1
