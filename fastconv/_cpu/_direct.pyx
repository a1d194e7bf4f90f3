# cython: cdivision=True
"""Loops over the items of csrc/direct.h and csrc/direct_weight.h."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from ._bound cimport BoundProblem
from ._runtime cimport kernels_for, real_kernels_t, run_items
from .correlation cimport correlation_t, epilogue_t


cdef extern from "direct_job.h" nogil:
    const int DIRECT_ROWS

    ctypedef struct direct_slice_t:
        int64_t source, factor, rows

    ctypedef struct direct_job_t:
        correlation_t correlation
        epilogue_t epilogue
        int64_t unit, block
        int64_t band[3]
        int64_t panel[3]
        int64_t slots, out_pitch, partials
        char *partial
        int64_t factors_at, out_at, sums_at, slices_at, offsets_at, lanes_at

    int64_t direct_correlate_items(const direct_job_t *job)
    int64_t direct_weight_items(const direct_job_t *job)


ROWS = DIRECT_ROWS
"""Accumulators of a register tile."""
SLICE_BYTES = sizeof(direct_slice_t)


cdef void _point_forward(correlation_t *c, int64_t itemsize):
    """Walk the taps so that the source index grows, which is all that the kernels know."""
    cdef int axis
    for axis in range(3):
        if c.taps[axis] <= 1:
            c.delta[axis] = 1
        elif c.delta[axis] < 0:
            c.first[axis] += (c.taps[axis] - 1) * c.delta[axis]
            c.weight += (c.taps[axis] - 1) * c.weight_stride[2 + axis] * itemsize
            c.delta[axis] = -c.delta[axis]
            c.weight_stride[2 + axis] = -c.weight_stride[2 + axis]


cdef direct_job_t _job(BoundProblem bound, int64_t index, layout):
    cdef direct_job_t job
    cdef int axis
    job.correlation = bound.correlation(index, &job.epilogue)
    _point_forward(&job.correlation, bound.itemsize)
    job.unit, job.block, job.slots = layout.unit, layout.block, layout.slots
    job.out_pitch, job.partials, job.partial = layout.out_pitch, layout.partials, NULL
    for axis in range(3):
        job.band[axis] = layout.band[axis]
        job.panel[axis] = layout.panel[axis]
    job.factors_at, job.out_at, job.sums_at, job.slices_at, job.offsets_at, job.lanes_at = layout.starts
    return job


def correlate(problem, operands, resources, layout):
    """forward or backward_input."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef const real_kernels_t *kernels = kernels_for(problem.dtype)
    cdef direct_job_t job
    cdef int64_t index
    for index in range(bound.correlation_count()):
        job = _job(bound, index, layout)
        run_items(kernels.direct_correlate, &job, direct_correlate_items(&job), layout.thread_bytes,
                  resources.workspace, 0, resources.threads)


def weight_gradient(problem, operands, resources, layout):
    """backward_weight: into the result, or as parts into the workspace that are then added up."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef const real_kernels_t *kernels = kernels_for(problem.dtype)
    cdef direct_job_t job = _job(bound, 0, layout)
    cdef Py_buffer view
    if job.partials == 1:
        run_items(kernels.direct_weight_gradient, &job, direct_weight_items(&job), layout.thread_bytes,
                  resources.workspace, 0, resources.threads)
        return
    PyObject_GetBuffer(resources.workspace, &view, PyBUF_WRITABLE)
    try:
        if layout.partial_bytes > view.len:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.partial = <char *>view.buf
        run_items(kernels.direct_weight_gradient, &job, direct_weight_items(&job), layout.thread_bytes,
                  resources.workspace, layout.partial_bytes, resources.threads)
        run_items(kernels.direct_weight_reduce, &job, problem.out_channels, 0, None, 0, resources.threads)
    finally:
        PyBuffer_Release(&view)
