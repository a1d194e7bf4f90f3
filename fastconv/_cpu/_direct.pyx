# cython: cdivision=True
"""Loops over the items of csrc/direct.h and csrc/direct_weight.h."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t

from ._bound cimport BoundProblem
from ._runtime cimport kernels_for, real_kernels_t, run_items
from .correlation cimport correlation_t, epilogue_t


cdef extern from "direct_job.h" nogil:
    const int DIRECT_ROWS

    ctypedef struct direct_slice_t:
        int64_t source, factor, rows

    ctypedef struct direct_phase_t:
        correlation_t sum
        epilogue_t epilogue

    ctypedef struct direct_job_t:
        const direct_phase_t *phases
        int64_t phase_count, unit, entry, block
        int64_t spacing[3]
        int64_t advance[3]
        int64_t classes[3]
        int64_t bands[3]
        int64_t band[3]
        int64_t panel[3]
        int64_t slots, out_pitch, partials
        char *partial
        int64_t factors_at, out_at, sums_at, slices_at, taps_at, offsets_at, lanes_at

    int64_t direct_correlate_items(const direct_job_t *job)
    int64_t direct_weight_items(const direct_job_t *job)


ROWS = DIRECT_ROWS
"""Accumulators of a register tile."""
SLICE_BYTES = sizeof(direct_slice_t)


cdef void _point_forward(correlation_t *c, int64_t itemsize, layout):
    """Walk the taps so that the source index grows, which is all that the kernels know."""
    cdef int axis
    for axis in range(3):
        if c.taps[axis] <= 1:
            # Any distance will do; all phases of a job have the same.
            c.delta[axis] = layout.delta[axis]
        elif c.delta[axis] < 0:
            c.first[axis] += (c.taps[axis] - 1) * c.delta[axis]
            c.weight += (c.taps[axis] - 1) * c.weight_stride[2 + axis] * itemsize
            c.delta[axis] = -c.delta[axis]
            c.weight_stride[2 + axis] = -c.weight_stride[2 + axis]


cdef class _Job:
    """All correlations of a bound problem with their layout."""

    cdef direct_job_t job
    cdef direct_phase_t *phases
    cdef BoundProblem bound

    def __cinit__(self, BoundProblem bound, layout):
        cdef direct_job_t *job = &self.job
        cdef int64_t index, count = bound.correlation_count()
        cdef int axis
        self.bound = bound  # keeps the arrays pinned
        self.phases = <direct_phase_t *>PyMem_Calloc(count, sizeof(direct_phase_t))
        if self.phases == NULL:
            raise MemoryError
        for index in range(count):
            self.phases[index].sum = bound.correlation(index, &self.phases[index].epilogue)
            _point_forward(&self.phases[index].sum, bound.itemsize, layout)
        job.phases, job.phase_count = self.phases, count
        job.unit, job.entry, job.block, job.slots = layout.unit, layout.entry, layout.block, layout.slots
        job.out_pitch, job.partials, job.partial = layout.out_pitch, layout.partials, NULL
        for axis in range(3):
            job.spacing[axis], job.advance[axis] = layout.spacing[axis], layout.advance[axis]
            job.classes[axis], job.bands[axis] = layout.classes[axis], layout.bands[axis]
            job.band[axis], job.panel[axis] = layout.band[axis], layout.panel[axis]
        job.factors_at, job.out_at, job.sums_at, job.slices_at, job.taps_at, job.offsets_at, job.lanes_at = \
            layout.starts

    def __dealloc__(self):
        PyMem_Free(self.phases)


def correlate(problem, operands, resources, layout):
    """forward or backward_input."""
    cdef _Job job = _Job(BoundProblem(problem, operands), layout)
    run_items(kernels_for(problem.dtype).direct_correlate, &job.job, direct_correlate_items(&job.job),
              layout.thread_bytes, resources.workspace, 0, resources.threads)


def weight_gradient(problem, operands, resources, layout):
    """backward_weight: into the result, or as parts into the workspace that are then added up."""
    cdef const real_kernels_t *kernels = kernels_for(problem.dtype)
    cdef _Job job = _Job(BoundProblem(problem, operands), layout)
    cdef Py_buffer view
    if layout.partials == 1:
        run_items(kernels.direct_weight_gradient, &job.job, direct_weight_items(&job.job), layout.thread_bytes,
                  resources.workspace, 0, resources.threads)
        return
    PyObject_GetBuffer(resources.workspace, &view, PyBUF_WRITABLE)
    try:
        if layout.partial_bytes > view.len:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.job.partial = <char *>view.buf
        run_items(kernels.direct_weight_gradient, &job.job, direct_weight_items(&job.job), layout.thread_bytes,
                  resources.workspace, layout.partial_bytes, resources.threads)
        run_items(kernels.direct_weight_reduce, &job.job, problem.out_channels, 0, None, 0, resources.threads)
    finally:
        PyBuffer_Release(&view)
