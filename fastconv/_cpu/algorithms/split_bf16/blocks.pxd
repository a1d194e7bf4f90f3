from libc.stdint cimport int64_t

from ...engine.correlation cimport CompiledCorrelation, operands_t
from .job cimport split_job_t, split_phase_t


cdef enum:
    HEADER_BYTES = 64  # before packed weights: the bits of their largest magnitude


cdef class SplitBlocks:
    cdef CompiledCorrelation correlation
    cdef split_job_t job
    cdef split_phase_t *phases
    cdef int64_t *tap_lines
    cdef int64_t shared_bytes, thread_bytes
    cdef bint is_gradient, merges

    cdef _set_axes(self)
    cdef _set_shared(self)
    cdef _set_halves(self)
    cdef _set_items(self, int64_t tile_lines, int64_t source_bytes)
    cdef _set_pass(self, int64_t operand_bytes)
    cdef _cut(self, int64_t tile_lines, int64_t lines)
    cdef _set_images(self, int64_t tile_lines, int64_t lines)
    cdef _set_tap_lines(self)
    cdef _set_bytes(self, int64_t tile_lines)
    cdef void _set_phase(self, const operands_t *operands, int64_t index, split_phase_t *phase) noexcept
    cdef bint fits(self, const operands_t *operands) noexcept
    cdef split_phase_t *bind(self, const operands_t *operands, char *packed) except NULL
