# cython: cdivision=True
"""Loops over single elements: casts between float32 and 16-bit floats by cast.h, on arrays without gaps, and by NumPy on
all others; the gradient for a bias by channel_sums.h, on one array and launched on arrays of one shape again and again."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

from ..engine.compiled_call cimport Launch, pins_t
from ..engine.kernel_types cimport item_fn
from ..engine.pages cimport empty
from ..engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        item_fn cast, channel_sums

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef enum cast_t:
        FLOAT16_TO_FLOAT32
        FLOAT32_TO_FLOAT16
        BFLOAT16_TO_FLOAT32
        FLOAT32_TO_BFLOAT16

    ctypedef struct cast_job_t:
        cast_t cast
        int64_t count
        const char *source
        char *result

    int64_t cast_items(const cast_job_t *job)


cdef dict KINDS = {
    ("float16", "float32"): FLOAT16_TO_FLOAT32,
    ("float32", "float16"): FLOAT32_TO_FLOAT16,
    ("bfloat16", "float32"): BFLOAT16_TO_FLOAT32,
    ("float32", "bfloat16"): FLOAT32_TO_BFLOAT16,
}

cdef enum:
    CAST_PER_THREAD = 1 << 18  # elements that take about as long as starting a thread


def cast(array, dtype, int threads):
    """``array`` in the native ``dtype``, its axes in the same order in memory; the array itself if it has that dtype."""
    if array.dtype == dtype:
        return array
    cdef object kind = KINDS.get((array.dtype.name, dtype.name))
    if kind is None or not array.dtype.isnative or not _is_dense(array):
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    stored = empty(tuple([array.shape[axis] for axis in order]), dtype)
    result = stored.transpose(np.argsort(order)) if array.ndim else stored
    _cast_memory(array, result, kind, threads)
    return result


def cast_into(array, result, int threads):
    """Write ``array``, which shares no memory with it, to ``result`` in the latter's dtype."""
    cdef object kind = KINDS.get((array.dtype.name, result.dtype.name))
    native = array.dtype.isnative and result.dtype.isnative
    if kind is not None and native and _is_dense(array) and _is_dense(result) and _same_order(array, result):
        _cast_memory(array, result, kind, threads)
    else:
        result[...] = cast(array, result.dtype.newbyteorder("="), threads)


cdef bint _is_dense(array) except -1:
    """Whether the elements are aligned and are all those of one run of memory, in some order of the axes."""
    if not array.size or not array.flags.aligned:
        return False
    cdef int64_t reach = array.itemsize
    for stride, size in sorted([pair for pair in zip(array.strides, array.shape) if pair[1] > 1]):
        if stride != reach:
            return False
        reach *= size
    return True


cdef bint _same_order(array, result) except -1:
    """Whether dense arrays of one shape have their axes in the same order in memory."""
    return all([size == 1 or a * result.itemsize == b * array.itemsize
                for a, b, size in zip(array.strides, result.strides, array.shape)])


cdef int _cast_memory(array, result, int kind, int threads) except -1:
    cdef Py_buffer source_view, result_view
    cdef cast_job_t job
    PyObject_GetBuffer(_exporting(array), &source_view, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(_exporting(result), &result_view, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            job.cast, job.count = <cast_t>kind, array.size
            job.source, job.result = <const char *>source_view.buf, <char *>result_view.buf
            threads = max(1, min(threads, job.count // CAST_PER_THREAD))
            return run_job(kernels_at(isa_level(), 0).cast, &job, cast_items(&job), 0, NULL, threads)
        finally:
            PyBuffer_Release(&result_view)
    finally:
        PyBuffer_Release(&source_view)


cdef object _exporting(array):
    """The array, or one of integers: arrays of bfloat16 do not export their memory."""
    return array if array.itemsize == 4 else array.view(np.uint16)


cdef extern from "job.h" nogil:
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

    cdef const kernels_t *kernels
    cdef object dtype
    cdef int source, threads
    cdef int axes[5]

    def __cinit__(self, int source, axes, dtype, int threads):
        cdef int axis
        self.kernels = kernels_at(isa_level(), real_type(dtype.name))
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
