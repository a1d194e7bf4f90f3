# cython: cdivision=True
"""Loops over single elements: casts between float32 and 16-bit floats by carry.h; the gradient for a bias by channel_sums.h, on one array and called on arrays of one shape again and again."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from ..engine.compiled_call cimport CompiledCall, pins_t
from ..engine.kernel_types cimport item_fn
from ..engine.pages cimport empty
from ..engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        item_fn carry, channel_sums

    const kernels_t *kernels_at(int64_t level, int64_t type)


CARRIES = {carry_name(carry).decode(): carry for carry in range(CARRY_COUNT)}
"""What a carry does with elements, by name."""

cdef dict KINDS = {
    ("float16", "float32"): CARRIES["FLOAT16_TO_FLOAT32"],
    ("float32", "float16"): CARRIES["FLOAT32_TO_FLOAT16"],
    ("bfloat16", "float32"): CARRIES["BFLOAT16_TO_FLOAT32"],
    ("float32", "bfloat16"): CARRIES["FLOAT32_TO_BFLOAT16"],
}

cdef enum:
    CARRIED_PER_THREAD = 1 << 18  # elements that take about as long as starting a thread


cdef int run_carry(carry_job_t *job, int threads) except -1:
    """Compute a job, whose axes are changed."""
    cdef int64_t items = carry_items(job), elements = 1
    cdef int axis
    if items == 0:
        return 0
    for axis in range(CARRY_AXES):
        elements *= job.size[axis]
    threads = max(1, min(threads, elements // CARRIED_PER_THREAD))
    return run_job(kernels_at(isa_level(), 0).carry, job, items, 0, NULL, threads)


def cast(array, dtype, int threads):
    """``array`` in the native ``dtype``, its axes in the same order in memory; the array itself if it has that dtype."""
    if array.dtype == dtype:
        return array
    if not _is_carried(array, dtype):
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    stored = empty(tuple([array.shape[axis] for axis in order]), dtype)
    result = stored.transpose(np.argsort(order)) if array.ndim else stored
    _carry(array, result, threads)
    return result


def cast_into(array, result, int threads):
    """Write ``array``, which shares no memory with it, to ``result`` in the latter's dtype."""
    if result.dtype.isnative and _is_carried(array, result.dtype):
        _carry(array, result, threads)
    else:
        result[...] = cast(array, result.dtype.newbyteorder("="), threads)


cdef bint _is_carried(array, dtype) except -1:
    """Whether there is a kernel that casts the array."""
    return (array.dtype.name, dtype.name) in KINDS and array.dtype.isnative and array.ndim <= CARRY_AXES


cdef int _carry(array, result, int threads) except -1:
    cdef Py_buffer source_view, result_view
    cdef carry_job_t job
    cdef int axis, first = CARRY_AXES - array.ndim
    memset(&job, 0, sizeof(job))
    PyObject_GetBuffer(_exporting(array), &source_view, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(_exporting(result), &result_view, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            job.carry = <carry_t><int>KINDS[array.dtype.name, result.dtype.name]
            job.source, job.result = <const char *>source_view.buf, <char *>result_view.buf
            for axis in range(CARRY_AXES):
                job.size[axis] = source_view.shape[axis - first] if axis >= first else 1
                job.source_step[axis] = source_view.strides[axis - first] if axis >= first else 0
                job.result_step[axis] = result_view.strides[axis - first] if axis >= first else 0
            return run_carry(&job, threads)
        finally:
            PyBuffer_Release(&result_view)
    finally:
        PyBuffer_Release(&source_view)


cdef object _exporting(array):
    """The array, or one of integers: arrays of bfloat16 do not export their memory."""
    return array if array.itemsize == 4 else array.view(np.uint16)


cdef extern from "job.h" nogil:
    ctypedef struct channel_sums_job_t:
        int64_t channels, channel_stride, result_stride
        int64_t size[4]
        int64_t stride[4]
        const char *source
        char *result

    int64_t channel_sums_items(const channel_sums_job_t *job)


cdef object _empty = np.empty


def channel_sums(array, int threads):
    """Sums of (N, C, D, H, W), native and aligned float32, float64 or complex, over all but C."""
    cdef Py_buffer view
    cdef SumsCall call = SumsCall(0, (0, 1, 2, 3, 4), array.dtype, threads)
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    try:
        return call.sums(&view)
    finally:
        PyBuffer_Release(&view)


cdef class SumsCall(CompiledCall):
    """The sums of the array at one place; ``axes``: which of its axes each canonical axis is, -1 for none."""

    cdef const kernels_t *kernels
    cdef object dtype
    cdef int source, threads, parts
    cdef int axes[5]

    def __cinit__(self, int source, axes, dtype, int threads):
        cdef int axis
        self.parts = 2 if dtype.kind == "c" else 1
        self.kernels = kernels_at(isa_level(), real_type(f"float{8 * dtype.itemsize // self.parts}"))
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
        cdef int64_t itemsize = view.itemsize // self.parts
        cdef int axis, own, part
        if <uintptr_t>view.buf % itemsize:
            return None
        for axis in range(5):
            own = self.axes[axis]
            size[axis], stride[axis] = 1, 0
            if own >= 0:
                if view.strides[own] % itemsize:
                    return None
                size[axis], stride[axis] = view.shape[own], view.strides[own] // itemsize
        job.channels, job.channel_stride = size[1], stride[1]
        job.size[0], job.stride[0] = size[0], stride[0]
        for axis in range(1, 4):
            job.size[axis], job.stride[axis] = size[axis + 1], stride[axis + 1]
        result = _empty(size[1], self.dtype)
        PyObject_GetBuffer(result, &result_view, PyBUF_WRITABLE)
        try:
            job.result_stride = self.parts
            for part in range(self.parts):
                job.source = <const char *>view.buf + part * itemsize
                job.result = <char *>result_view.buf + part * itemsize
                run_job(self.kernels.channel_sums, &job, channel_sums_items(&job), 0, NULL, self.threads)
        finally:
            PyBuffer_Release(&result_view)
        return result
