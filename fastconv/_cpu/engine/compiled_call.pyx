# cython: cdivision=True
"""Calls that were prepared for arrays of some shapes and dtypes: how the memory of arrays is found, and the result."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from .pages cimport empty

cdef object _ndarray = np.ndarray, _uint16 = np.uint16


cdef int pin(pins_t *pins, object array) except -1:
    """Hold the memory of one more array; there is none to hold of None, nor of an array that is not NumPy's."""
    cdef Py_buffer *view = &pins.view[pins.count]
    if array is None or not (type(array) is _ndarray or isinstance(array, _ndarray)):
        view.ndim = -1
    else:
        # Arrays of bfloat16 do not export their memory.
        PyObject_GetBuffer(array if array.dtype.char != "E" else array.view(_uint16), view, PyBUF_STRIDES)
    pins.count += 1
    return 0


cdef void unpin(pins_t *pins) noexcept:
    cdef int i
    for i in range(pins.count):
        if pins.view[i].ndim >= 0:
            PyBuffer_Release(&pins.view[i])


cdef object result_for(object out, tuple shape, object dtype):
    """``out``, or a new array where it is None; None where ``out`` is not a plain array that fits."""
    if out is None:
        return empty(shape, dtype)
    if type(out) is not _ndarray or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        return None
    return out


cdef bint in_place(const Py_buffer *out, const pins_t *pins) noexcept:
    """Whether kernels may write straight into ``out``: no two elements share memory, nor does one with an input."""
    return not (_overlaps_itself(out) or _overlaps(out, pins))


cdef class CompiledCall:
    """What computes a call for all arrays of the same shapes and dtypes. Immutable."""

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        """The result; None where kernels cannot read or write these arrays where they lie, or may not use ``out``."""
        raise NotImplementedError

    def __call__(self, tuple arrays, out=None, packed=None):
        """As ``run``, on arrays whose memory is held for the duration."""
        cdef pins_t pins
        pins.count, pins.packed = 0, NULL if packed is None else <void *>packed
        try:
            for array in arrays:
                pin(&pins, array)
            return self.run(arrays, &pins, out)
        finally:
            unpin(&pins)


cdef class PythonCall(CompiledCall):
    """``compute(arrays, out)``, made of calls that were prepared."""

    cdef object compute

    def __cinit__(self, compute):
        self.compute = compute

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        return self.compute(arrays, out)


cdef class GradientsCall(CompiledCall):
    """Several results of the same arrays; None for those that are not wanted."""

    def __cinit__(self, *parts):
        self.parts = parts

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        cdef CompiledCall call
        results = []
        for part in self.parts:
            if part is None:
                results.append(None)
                continue
            call = part
            result = call.run(arrays, pins, None)
            if result is None:
                return None
            results.append(result)
        return tuple(results)


cdef void _extent(const Py_buffer *view, uintptr_t *low, uintptr_t *high) noexcept:
    """The bytes from ``low`` to before ``high`` hold the array's elements."""
    cdef int axis
    cdef int64_t reach
    low[0] = high[0] = <uintptr_t>view.buf
    for axis in range(view.ndim):
        reach = view.strides[axis] * (view.shape[axis] - 1)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += view.itemsize


cdef bint _overlaps(const Py_buffer *out, const pins_t *pins) noexcept:
    """Whether ``out`` may share memory with one of the pinned arrays."""
    cdef uintptr_t low, high, first, last
    cdef int i
    _extent(out, &low, &high)
    for i in range(pins.count):
        if pins.view[i].ndim >= 0:
            _extent(&pins.view[i], &first, &last)
            if first < high and low < last:
                return True
    return False


cdef bint _overlaps_itself(const Py_buffer *view) noexcept:
    """Whether two elements may share memory: an axis steps over less than the axes of smaller steps reach."""
    cdef int64_t reach = view.itemsize, least = 0, step, done = 0
    cdef int axis, best
    while True:
        best = -1
        for axis in range(view.ndim):
            if view.shape[axis] > 1 and not done >> axis & 1:
                step = abs(view.strides[axis])
                if best < 0 or step < least:
                    best, least = axis, step
        if best < 0:
            return False
        if least < reach:
            return True
        reach += least * (view.shape[best] - 1)
        done |= 1 << best


cdef bint is_finite(const Py_buffer *view) noexcept:
    """Whether no element of an aligned array of float32 or float64 is NaN or infinite."""
    cdef int64_t index[5]
    cdef int64_t run, step, i
    cdef int axis, inner = view.ndim
    cdef char *at = <char *>view.buf
    # The last axes, as far as they are contiguous, are one run.
    run, step = 1, view.itemsize
    while inner > 0 and view.strides[inner - 1] == run * step:
        inner -= 1
        run *= view.shape[inner]
    memset(index, 0, sizeof(index))
    while True:
        if not is_finite_run(at, run, step):
            return False
        axis = inner - 1
        while axis >= 0:
            index[axis] += 1
            at += view.strides[axis]
            if index[axis] < view.shape[axis]:
                break
            at -= view.strides[axis] * view.shape[axis]
            index[axis] = 0
            axis -= 1
        if axis < 0:
            return True


cdef bint is_finite_run(const char *at, int64_t count, int64_t itemsize) noexcept:
    """``is_finite`` of neighbouring elements."""
    if itemsize == 4:
        return _finite_run32(<const uint32_t *>at, count)
    return _finite_run64(<const uint64_t *>at, count)


cdef enum:
    RUN = 64


cdef bint _finite_run32(const uint32_t *bits, int64_t count) noexcept:
    cdef uint32_t found = 0
    cdef int64_t i, begin = 0
    while begin + RUN <= count:
        for i in range(RUN):
            found |= (bits[begin + i] & <uint32_t>0x7F800000) == <uint32_t>0x7F800000
        begin += RUN
    for i in range(begin, count):
        found |= (bits[i] & <uint32_t>0x7F800000) == <uint32_t>0x7F800000
    return found == 0


cdef bint _finite_run64(const uint64_t *bits, int64_t count) noexcept:
    cdef uint64_t found = 0
    cdef int64_t i, begin = 0
    while begin + RUN <= count:
        for i in range(RUN):
            found |= (bits[begin + i] & <uint64_t>0x7FF0000000000000) == <uint64_t>0x7FF0000000000000
        begin += RUN
    for i in range(begin, count):
        found |= (bits[i] & <uint64_t>0x7FF0000000000000) == <uint64_t>0x7FF0000000000000
    return found == 0
