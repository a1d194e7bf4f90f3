"""The gradient for a bias: channel_sums.h on one array, and launched on arrays of one shape again and again."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

from ..engine.compiled_call cimport Launch, pins_t
from ..engine.runtime cimport kernels_for, real_kernels_t, run_job


cdef extern from "channel_sums_job.h" nogil:
    ctypedef struct channel_sums_job_t:
        int64_t channels, channel_stride
        int64_t size[4]
        int64_t stride[4]
        const char *source
        char *result

    int64_t channel_sums_items(const channel_sums_job_t *job)


cdef object _empty = np.empty


def channel_sums(array, int threads):
    """Sums of (N, C, D, H, W), native and aligned float32 or float64, over all but C."""
    cdef Py_buffer view
    cdef SumsLaunch launch = SumsLaunch(0, (0, 1, 2, 3, 4), array.dtype, threads)
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    try:
        return launch.sums(&view)
    finally:
        PyBuffer_Release(&view)


cdef class SumsLaunch(Launch):
    """The sums of the array at one place; ``axes``: which of its axes each canonical axis is, -1 for none."""

    cdef const real_kernels_t *kernels
    cdef object dtype
    cdef int source, threads
    cdef int axes[5]

    def __cinit__(self, int source, axes, dtype, int threads):
        cdef int axis
        self.kernels = kernels_for(dtype.name)
        self.dtype, self.source, self.threads = dtype, source, threads
        for axis in range(5):
            self.axes[axis] = axes[axis]

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        return self.sums(&pins.view[self.source])

    cdef object sums(self, const Py_buffer *view):
        """None where the array is not aligned."""
        cdef channel_sums_job_t job
        cdef Py_buffer result_view
        cdef int64_t size[5]
        cdef int64_t stride[5]
        cdef int axis, own
        if <uintptr_t>view.buf % view.itemsize:
            return None
        for axis in range(5):
            own = self.axes[axis]
            size[axis], stride[axis] = 1, 0
            if own >= 0:
                if view.strides[own] % view.itemsize:
                    return None
                size[axis], stride[axis] = view.shape[own], view.strides[own] // view.itemsize
        job.channels, job.channel_stride = size[1], stride[1]
        job.size[0], job.stride[0] = size[0], stride[0]
        for axis in range(1, 4):
            job.size[axis], job.stride[axis] = size[axis + 1], stride[axis + 1]
        result = _empty(size[1], self.dtype)
        PyObject_GetBuffer(result, &result_view, PyBUF_WRITABLE)
        try:
            job.source, job.result = <const char *>view.buf, <char *>result_view.buf
            run_job(self.kernels.channel_sums, &job, channel_sums_items(&job), 0, NULL, self.threads)
        finally:
            PyBuffer_Release(&result_view)
        return result
