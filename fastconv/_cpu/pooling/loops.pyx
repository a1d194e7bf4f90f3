# cython: cdivision=True
"""Binds pooling windows and arrays to the kernels of pooling.h and loops over their items."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from ..engine.compiled_call cimport CompiledCall, in_place, pins_t, result_for
from ..engine.runtime cimport isa_level, run_job
from ..engine.kernel_types cimport item_fn


cdef extern from "job.h" nogil:
    enum:
        POOL_LANES

    ctypedef struct kernels_t:
        item_fn maximum, maximum_indices, average, average_gradient, maximum_gradient

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef struct pool_axis_t:
        int64_t size, outputs, taps, step, before, after, dilation, adaptive

    ctypedef struct pool_job_t:
        pool_axis_t axis[3]
        int64_t divisor, count_padding
        int64_t row_sizes[5]
        int64_t rows_per_item, channels, block_channels, segment_outputs, lanes_along_channels, single_outputs
        char *source
        char *result
        int64_t *index
        int64_t source_stride[5]
        int64_t result_stride[5]
        int64_t index_stride[5]


# The order of pool_type_t in job.h, as kind and size of native dtypes.
_TYPES = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

# Outputs of a row that are one piece of work, and window elements read that are worth an item of their own.
cdef int64_t SEGMENT_OUTPUTS = 8192
cdef int64_t ITEM_READS = 16384

# Rows of fewer outputs run their lanes along channels instead, as many channels at a time as fit this many bytes.
cdef int64_t SHORT_ROW_OUTPUTS = 16
cdef int64_t PLANES_BYTES = 16384


def are_within(indices, int64_t count):
    """Whether all elements of an int64 array are from -1 to before ``count``."""
    cdef Py_buffer view
    cdef const int64_t *at
    cdef int64_t i, least = 0, most = -1
    if not (indices.flags.c_contiguous and indices.dtype.isnative and indices.flags.aligned):
        return not indices.size or bool(indices.min() >= -1 and indices.max() < count)
    PyObject_GetBuffer(indices, &view, PyBUF_STRIDES)
    at = <const int64_t *>view.buf
    for i in range(view.len // 8):
        least, most = min(least, at[i]), max(most, at[i])
    PyBuffer_Release(&view)
    return least >= -1 and most < count


cdef class _Pinned:
    """The memory of up to three arrays, held for as long as this lives."""

    cdef Py_buffer buffers[3]
    cdef int count

    def __cinit__(self):
        self.count = 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.buffers[i])

    cdef char *pin(self, object array, bint writable, int64_t *stride) except? NULL:
        """The array's first element; its five strides, in elements."""
        cdef Py_buffer *buffer = &self.buffers[self.count]
        cdef int i
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
        self.count += 1
        for i in range(5):
            stride[i] = buffer.strides[i] // buffer.itemsize
        return <char *>buffer.buf


def maximum(windows, source, result, index, int threads):
    """result = the windows' largest elements; ``index`` (or None) = where they are in their planes."""
    _run(windows, source, result, index, "maximum", threads)


def average(windows, source, result, int threads):
    """result = the windows' averages."""
    _run(windows, source, result, None, "average", threads)


def average_gradient(windows, source, result, int threads):
    """Add the gradient of ``average`` to ``source``, given that of its result."""
    _run(windows, source, result, None, "average_gradient", threads)


def maximum_gradient(windows, source, result, index, int threads):
    """Add every element of ``result`` to the element of ``source`` that ``index`` names; -1 and any other index outside
    of the plane names none.

    The planes of ``source`` must be flat: strides of (H * W, W, 1) times one step.
    """
    _run(windows, source, result, index, "maximum_gradient", threads)


cdef _run(windows, source, result, index, str kind, int threads):
    cdef pool_job_t job
    cdef _Pinned pinned = _Pinned()
    cdef const kernels_t *kernels = kernels_at(isa_level(), _TYPES.index(source.dtype.str[1:]))
    cdef bint is_gradient = kind.endswith("gradient")
    cdef item_fn fn
    memset(&job, 0, sizeof(job))
    job.source = pinned.pin(source, is_gradient, job.source_stride)
    job.result = pinned.pin(result, not is_gradient, job.result_stride)
    if index is not None:
        job.index = <int64_t *>pinned.pin(index, not is_gradient, job.index_stride)
    if kind == "maximum":
        fn = kernels.maximum if index is None else kernels.maximum_indices
    elif kind == "average":
        fn = kernels.average
    elif kind == "average_gradient":
        fn = kernels.average_gradient
    else:
        fn = kernels.maximum_gradient
        job.source_stride[4] = _plane_step(source.shape, job.source_stride)
    _set_windows(&job, windows)
    _merge_axes(&job)
    run_job(fn, &job, _set_rows(&job, source.shape[0], source.shape[1], source.itemsize, is_gradient), 0, NULL, threads)


cdef class PoolingCall(CompiledCall):
    """A maximum or an average of the array at the first place. ``source_axes`` and ``result_axes``: which axis of the
    user's arrays each canonical axis is, -1 for one of size 1 that it lacks."""

    cdef pool_job_t job
    cdef item_fn fn
    cdef tuple result_shape
    cdef object dtype
    cdef int source_axes[5]
    cdef int result_axes[5]
    cdef int threads
    cdef bint returns_indices

    def __cinit__(self, windows, dtype, str kind, bint returns_indices, source_axes, result_axes, tuple result_shape,
                  int threads):
        cdef const kernels_t *kernels = kernels_at(isa_level(), _TYPES.index(dtype.str[1:]))
        cdef int axis
        memset(&self.job, 0, sizeof(self.job))
        _set_windows(&self.job, windows)
        self.fn = kernels.average
        if kind == "maximum":
            self.fn = kernels.maximum_indices if returns_indices else kernels.maximum
        self.dtype, self.result_shape, self.threads = dtype, result_shape, threads
        self.returns_indices = returns_indices
        for axis in range(5):
            self.source_axes[axis], self.result_axes[axis] = source_axes[axis], result_axes[axis]

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        cdef pool_job_t job = self.job
        cdef const Py_buffer *source = &pins.view[0]
        cdef Py_buffer view
        cdef int batch = self.source_axes[0]
        cdef _Pinned pinned
        if not _strides(source, self.source_axes, job.source_stride):
            return None
        result = result_for(out, self.result_shape, self.dtype)
        if result is None:
            return None
        indices = None
        if self.returns_indices:
            indices, pinned = np.empty(self.result_shape, np.int64), _Pinned()
            PyObject_GetBuffer(indices, &pinned.buffers[0], PyBUF_STRIDES | PyBUF_WRITABLE)
            pinned.count = 1
            job.index = <int64_t *>pinned.buffers[0].buf
            _strides(&pinned.buffers[0], self.result_axes, job.index_stride)
        PyObject_GetBuffer(result, &view, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            if not _strides(&view, self.result_axes, job.result_stride):
                return None
            if out is not None and not in_place(&view, pins):
                return None
            job.source, job.result = <char *>source.buf, <char *>view.buf
            _merge_axes(&job)
            run_job(self.fn, &job, _set_rows(&job, source.shape[batch] if batch >= 0 else 1,
                                             source.shape[self.source_axes[1]], source.itemsize, False),
                    0, NULL, self.threads)
        finally:
            PyBuffer_Release(&view)
        return result if indices is None else (result, indices)


cdef bint _strides(const Py_buffer *view, const int *axes, int64_t *strides) noexcept:
    """The canonical strides of an array, in elements; False where it is not aligned."""
    cdef int axis
    if <uintptr_t>view.buf % view.itemsize:
        return False
    for axis in range(5):
        strides[axis] = 0
        if axes[axis] >= 0:
            if view.strides[axes[axis]] % view.itemsize:
                return False
            strides[axis] = view.strides[axes[axis]] // view.itemsize
    return True


cdef int64_t _plane_step(shape, const int64_t *stride):
    """The step from element to element of a flat plane; strides of axes of size 1 mean nothing."""
    cdef int axis
    for axis in range(4, 1, -1):
        if shape[axis] > 1:
            return stride[axis]
    return 0


cdef _set_windows(pool_job_t *job, windows):
    cdef int i
    for i in range(3):
        axis = windows.axes[i]
        job.axis[i].size, job.axis[i].outputs = axis.size, axis.outputs
        job.axis[i].taps, job.axis[i].step, job.axis[i].dilation = axis.taps, axis.step, axis.dilation
        job.axis[i].before, job.axis[i].after = axis.before, axis.after
        job.axis[i].adaptive = axis.adaptive
    job.divisor = windows.divisor
    job.count_padding = windows.count_padding


cdef _merge_axes(pool_job_t *job):
    """Take the rows of windows that cover whole planes as one long row, where they lie so: indices are the same."""
    cdef pool_axis_t *w = &job.axis[2]
    cdef int axis
    for axis in range(1, -1, -1):
        if not (_covers(&job.axis[axis]) and _covers(w)):
            return
        if job.source_stride[2 + axis] != w.size * job.source_stride[4] and job.axis[axis].size > 1:
            return
        w.taps *= job.axis[axis].taps
        w.size = w.taps
        job.axis[axis].size = job.axis[axis].taps = 1


cdef bint _covers(const pool_axis_t *axis):
    """Whether the axis has one output, of all its elements."""
    return axis.outputs == 1 and axis.taps == axis.size and axis.dilation == 1 and axis.before == axis.after == 0


cdef int64_t _block_channels(const pool_job_t *job, int64_t itemsize):
    """How many channels one row of outputs spans; 1: its lanes run along w."""
    cdef int64_t plane_bytes = itemsize * job.axis[0].size * job.axis[1].size * job.axis[2].size
    if job.channels < 8:
        return 1
    if job.source_stride[1] == 1 and job.source_stride[4] != 1:
        return min(job.channels, <int64_t>POOL_LANES)
    if job.axis[2].outputs < SHORT_ROW_OUTPUTS and job.axis[2].taps < SHORT_ROW_OUTPUTS:
        return min(job.channels, <int64_t>POOL_LANES, PLANES_BYTES // plane_bytes)
    return 1


cdef int64_t _set_rows(pool_job_t *job, int64_t batch, int64_t channels, int64_t itemsize,
                       bint is_gradient) except -1:
    """Cut the outputs into rows and the rows into items; the number of items."""
    cdef pool_axis_t *w = &job.axis[2]
    cdef int64_t *sizes = job.row_sizes
    cdef int64_t plane_rows, reads, i
    job.channels = channels
    job.block_channels = max(<int64_t>1, _block_channels(job, itemsize))
    job.lanes_along_channels = job.block_channels > 1
    job.single_outputs = w.taps >= 32 and (w.step > 2 or w.outputs < 8)
    job.segment_outputs = min(w.outputs, SEGMENT_OUTPUTS)
    sizes[0] = batch
    sizes[1] = (job.channels + job.block_channels - 1) // job.block_channels
    sizes[2], sizes[3] = job.axis[0].outputs, job.axis[1].outputs
    sizes[4] = (w.outputs + job.segment_outputs - 1) // job.segment_outputs
    plane_rows = sizes[2] * sizes[3] * sizes[4]
    if is_gradient:
        job.rows_per_item = plane_rows
    else:
        reads = job.segment_outputs * job.block_channels
        for i in range(3):
            reads = min(ITEM_READS, reads * max(<int64_t>1, min(job.axis[i].taps, job.axis[i].size)))
        job.rows_per_item = max(<int64_t>1, ITEM_READS // reads)
    return (sizes[0] * sizes[1] * plane_rows + job.rows_per_item - 1) // job.rows_per_item
