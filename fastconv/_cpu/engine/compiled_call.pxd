from libc.stdint cimport int64_t

from .correlation cimport ROLES, Kernel, operands_t

cdef enum:
    MOST_ARRAYS = 6


cdef struct pins_t:
    int count
    void *packed                     # the PyObject that ``pack`` returned, borrowed; NULL: none
    Py_buffer view[MOST_ARRAYS]      # ndim is -1 where None was given


cdef int pin(pins_t *pins, object array) except -1
cdef void unpin(pins_t *pins) noexcept
cdef object result_for(object out, tuple shape, object dtype)
cdef bint in_place(const Py_buffer *out, const pins_t *pins) noexcept


cdef class Launch:
    cdef object run(self, tuple arrays, const pins_t *pins, object out)


cdef class ConvLaunch(Launch):
    cdef Kernel kernel
    cdef object compute, dtype
    cdef tuple result_shape
    cdef int source[ROLES]
    cdef int axes[ROLES][5]
    cdef int result_role, threads, item_shift
    cdef bint checks_weight
    cdef int64_t workspace_bytes

    cdef bint _place(self, operands_t *operands, int role, const Py_buffer *view) noexcept
    cdef int _run(self, const operands_t *operands, object packed) except -1
    cdef object _into(self, operands_t *operands, const pins_t *pins, object out)


cdef class GradientsLaunch(Launch):
    cdef tuple parts

    cdef object run(self, tuple arrays, const pins_t *pins, object out)
