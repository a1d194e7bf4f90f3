from libc.stdint cimport int64_t

cdef enum:
    MAX_ARRAYS = 8


cdef struct pins_t:
    int count
    void *packed                     # the PyObject that ``pack`` returned, borrowed; NULL: none
    Py_buffer view[MAX_ARRAYS]      # ndim is -1 where None was given


cdef int pin(pins_t *pins, object array) except -1
cdef void unpin(pins_t *pins) noexcept
cdef object result_for(object out, tuple shape, object dtype)
cdef bint in_place(const Py_buffer *out, const pins_t *pins) noexcept
cdef bint is_finite(const Py_buffer *view) noexcept
cdef bint is_finite_run(const char *at, int64_t count, int64_t itemsize) noexcept


cdef class CompiledCall:
    cdef object run(self, tuple arrays, const pins_t *pins, object out)


cdef class GradientsCall(CompiledCall):
    cdef tuple parts

    cdef object run(self, tuple arrays, const pins_t *pins, object out)
