from libc.stdint cimport int64_t

from ..elementwise.loops cimport carry_job_t
from .compiled_call cimport CompiledCall, pins_t
from .correlation cimport ROLES, Kernel, operands_t


cdef class Carry:
    cdef carry_job_t job
    cdef int source_role, result_role, split
    cdef int64_t source_at, result_at
    cdef tuple kept

    cdef int run(self, char *const *data, int64_t (*step)[5], char *scratch, int threads) except -1


cdef struct memory_t:
    char *data[ROLES]            # first element of the call's arrays by role; NULL: none
    int64_t step[ROLES][5]       # in bytes, of the canonical axes
    const Py_buffer *view[ROLES]


cdef class ConvolutionCall(CompiledCall):
    cdef readonly object plan
    cdef object dtype, views
    cdef Kernel kernel
    cdef tuple result_shape, before, after
    cdef dict scratch_views
    cdef int place[ROLES]
    cdef int axes[ROLES][5]
    cdef int64_t scratch_at[ROLES]
    cdef int64_t scratch_step[ROLES][5]
    cdef int result_role, threads
    cdef int64_t itemsize, workspace_bytes, scratch_bytes, limit_bytes, weights, images
    cdef bint checks_weight, is_folded, is_complex

    cdef bint _enter(self, memory_t *memory, int role, const Py_buffer *view) noexcept
    cdef int _compute(self, memory_t *memory, tuple arrays, object packed, object result) except -1
    cdef int _run(self, memory_t *memory, object packed, char *scratch, int64_t size, object owner, tuple arrays,
                  object result) except -1
    cdef int _in_numpy(self, char *scratch, int64_t size, object owner, tuple arrays, object packed, object result,
                       bint computes, object spoiled) except -1
    cdef object _views_of(self, tuple arrays, object owner, object result)
    cdef bint _is_finite(self, const memory_t *memory, const char *scratch) noexcept
