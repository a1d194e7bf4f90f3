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


cdef struct axis_phase_t:        # a Phase of _correlation.py
    int64_t pixels
    int64_t taps
    int64_t first
    int64_t first_tap


cdef class CompiledCorrelation:
    cdef readonly object problem
    cdef correlation_t _forward
    cdef epilogue_t _epilogue
    cdef bint is_phased
    cdef readonly int64_t phase_count
    cdef axis_phase_t *_phases
    cdef axis_phase_t *_of_axis[3]
    cdef int64_t _axis_phases[3]
    cdef int64_t _tap_step[3]
    cdef int64_t _delta[3]

    cdef _set_sizes(self)
    cdef _set_phases(self, axes)
    cdef correlation_t phase(self, const operands_t *operands, int64_t index, epilogue_t *epilogue) noexcept
    cdef void _set_forward(self, const operands_t *operands, correlation_t *c, epilogue_t *epilogue) noexcept
    cdef void _set_phase(self, int64_t index, int64_t itemsize, correlation_t *c, epilogue_t *epilogue) noexcept


cdef void point_forward(correlation_t *c, int64_t itemsize) noexcept
cdef void merge_axes(correlation_t *c, epilogue_t *e) noexcept


cdef class BoundProblem:
    cdef Py_buffer _buffers[ROLES]
    cdef int _pinned
    cdef readonly object problem
    cdef CompiledCorrelation correlation
    cdef operands_t operands
    cdef int64_t itemsize

    @staticmethod
    cdef BoundProblem over(CompiledCorrelation correlation, const operands_t *operands)
    cdef _pin(self, object array, int role, bint writable)
    cdef correlation_t forward(self)
    cdef correlation_t phase(self, int64_t index, epilogue_t *epilogue)


cdef char *packed_memory(object packed, int64_t min_bytes, Py_buffer *view) except NULL


cdef enum:
    DONE
    IMAGES_ARE_SPOILED
    ALL_IS_SPOILED


cdef class Kernel:
    cdef readonly CompiledCorrelation correlation

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1

