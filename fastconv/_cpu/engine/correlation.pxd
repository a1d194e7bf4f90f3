from libc.stdint cimport int64_t

from .kernel_types cimport correlation_t, epilogue_t


cdef enum:
    INPUT
    WEIGHT
    OUTPUT
    BIAS
    ADD
    ROLES


cdef struct operands_t:
    char *data[ROLES]            # NULL: there is no such operand
    int64_t stride[ROLES][5]     # in elements; of a bias none, it is contiguous
    int64_t itemsize


cdef class Correlation:
    cdef readonly object problem
    cdef correlation_t _forward
    cdef epilogue_t _epilogue
    cdef bint is_phased
    cdef readonly int64_t phase_count

    cdef _set_sizes(self)
    cdef correlation_t phase(self, const operands_t *operands, int64_t index, epilogue_t *epilogue) noexcept
    cdef void _set_forward(self, const operands_t *operands, correlation_t *c, epilogue_t *epilogue) noexcept
    cdef void _set_phase(self, int64_t index, int64_t itemsize, correlation_t *c, epilogue_t *epilogue) noexcept


cdef void point_forward(correlation_t *c, int64_t itemsize) noexcept
cdef void merge_axes(correlation_t *c, epilogue_t *e) noexcept


cdef class BoundProblem:
    cdef Py_buffer _buffers[ROLES]
    cdef int _pinned
    cdef readonly object problem
    cdef Correlation correlation
    cdef operands_t operands
    cdef int64_t itemsize

    @staticmethod
    cdef BoundProblem over(Correlation correlation, const operands_t *operands)
    cdef _pin(self, object array, int role, bint writable)
    cdef correlation_t forward(self)
    cdef correlation_t phase(self, int64_t index, epilogue_t *epilogue)


cdef char *packed_memory(object packed, int64_t min_bytes, Py_buffer *view) except NULL


cdef enum:
    DONE
    IMAGES_ARE_SPOILED
    ALL_IS_SPOILED


cdef class Kernel:
    cdef readonly Correlation correlation

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1

