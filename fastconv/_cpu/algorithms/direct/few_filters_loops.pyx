# cython: cdivision=True
"""Loops over the items of few_filters.h: the weights of every phase, then all phases of every box of pixels."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from ...engine.correlation cimport Correlations, Kernel, operands_t, point_forward
from ...engine.runtime cimport kernels_for, real_kernels_t, run_job
from ...engine.kernel_types cimport correlation_t, epilogue_t


cdef extern from "few_filters_job.h" nogil:
    ctypedef struct narrow_phase_t:
        correlation_t sum
        epilogue_t epilogue
        char *factors

    ctypedef struct narrow_job_t:
        const narrow_phase_t *phases
        int64_t phase_count, row_phases, channels
        int64_t bands[3]
        int64_t band[3]
        int64_t origin[3]
        int64_t reach[3]
        int64_t panel[3]
        int64_t lead, plane
        bint runs_on
        int64_t out_pitch, out_slice
        int64_t panel_at, out_at, offsets_at

    int64_t narrow_taps(const correlation_t *c)
    int64_t narrow_items(const narrow_job_t *job)


cdef class NarrowKernel(Kernel):
    """The correlations of a problem with their layout; ``shared_bytes`` of the workspace are for all weights, then come
    ``thread_bytes`` for every thread."""

    cdef narrow_job_t job
    cdef int64_t shared_bytes, thread_bytes
    cdef const real_kernels_t *kernels

    def __cinit__(self, problem, layout):
        cdef narrow_job_t *job = &self.job
        cdef int axis
        self.sums, self.kernels = Correlations(problem), kernels_for(problem.dtype)
        self.shared_bytes, self.thread_bytes = layout.shared_bytes, layout.thread_bytes
        job.phases, job.phase_count, job.channels = NULL, self.sums.count, layout.channels
        job.row_phases = 1
        if problem.direction == "backward_input":
            job.row_phases = max(min(problem.stride[2], problem.input_size[2]), 1)
        for axis in range(3):
            job.band[axis], job.bands[axis] = layout.band[axis], layout.bands[axis]
            job.origin[axis], job.reach[axis] = layout.origin[axis], layout.reach[axis]
            job.panel[axis] = layout.panel[axis]
        job.lead, job.plane, job.runs_on = layout.lead, layout.plane, layout.runs_on
        job.out_pitch, job.out_slice = layout.out_pitch, layout.out_slice
        job.panel_at, job.out_at, job.offsets_at = layout.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef narrow_job_t job = self.job
        cdef narrow_phase_t *phases
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        phases = <narrow_phase_t *>PyMem_Malloc(max(job.phase_count, 1) * sizeof(narrow_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            job.phases = phases
            self._set_phases(phases, operands, workspace)
            if job.phase_count == 0:
                return 0
            run_job(self.kernels.narrow_pack, &job, job.phase_count * phases[0].sum.groups * phases[0].sum.filters, 0,
                    NULL, threads)
            return run_job(self.kernels.narrow_correlate, &job, narrow_items(&job), self.thread_bytes,
                           workspace + self.shared_bytes, threads)
        finally:
            PyMem_Free(phases)

    cdef void _set_phases(self, narrow_phase_t *phases, const operands_t *operands, char *factors) noexcept:
        cdef correlation_t *c
        cdef int64_t index
        for index in range(self.job.phase_count):
            phases[index].sum = self.sums.get(operands, index, &phases[index].epilogue)
            c = &phases[index].sum
            point_forward(c, operands.itemsize)
            phases[index].factors = factors
            factors += c.groups * c.filters * c.channels * narrow_taps(c) * operands.itemsize
