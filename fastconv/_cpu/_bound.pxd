from libc.stdint cimport int64_t

from .correlation cimport correlation_t, epilogue_t


cdef class BoundProblem:
    cdef Py_buffer _buffers[5]
    cdef int _pinned
    cdef readonly object problem
    cdef correlation_t _forward
    cdef epilogue_t _epilogue
    cdef int64_t itemsize

    cdef _pin(self, object array, bint writable)
    cdef _set_forward(self)
    cdef _set_epilogue(self, operands)
    cdef correlation_t forward(self)
    cdef epilogue_t epilogue(self)
    cdef int64_t phase_count(self)
    cdef correlation_t phase(self, int64_t index, epilogue_t *epilogue)
    cdef int64_t correlation_count(self) except -1
    cdef correlation_t correlation(self, int64_t index, epilogue_t *epilogue)
