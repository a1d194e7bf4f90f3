# cython: cdivision=True
"""Loops over the items of nchw.h and nchw_weight.h."""

from libc.stdint cimport int64_t

from ...engine.correlation cimport Correlations, Kernel, operands_t, point_forward
from ...engine.runtime cimport kernels_for, real_kernels_t, run_job
from ...engine.kernel_types cimport correlation_t, epilogue_t


cdef extern from "nchw_job.h" nogil:
    const int PLANES_ROWS

    ctypedef struct planes_phase_t:
        correlation_t sum
        epilogue_t epilogue

    ctypedef struct planes_job_t:
        const planes_phase_t *phases
        int64_t row_phases, sides, block, band, before, after, pitch, gradient_pitch, partials
        char *partial
        int64_t masks_at, columns_at, factors_at, source_at, gradient_at, sums_at

    int64_t planes_items(const planes_job_t *job)
    int64_t planes_weight_items(const planes_job_t *job)


ROWS = PLANES_ROWS
"""Rows of a register tile."""


cdef class PlanesKernel(Kernel):
    """The correlations of a problem with their layout; ``thread_bytes`` of the workspace are for every thread, before
    them come ``partial_bytes`` for parts of a weight gradient."""

    cdef planes_job_t job
    cdef int64_t thread_bytes, partial_bytes
    cdef bint is_gradient
    cdef const real_kernels_t *kernels

    def __cinit__(self, problem, layout):
        cdef planes_job_t *job = &self.job
        self.sums = Correlations(problem)
        self.kernels = kernels_for(problem.dtype)
        self.is_gradient = problem.direction == "backward_weight"
        self.thread_bytes, self.partial_bytes = layout.thread_bytes, layout.partial_bytes
        job.phases, job.partial = NULL, NULL
        job.row_phases = job.sides = layout.sides
        job.block, job.band, job.partials = layout.block, layout.band, layout.partials
        job.before, job.after, job.pitch = layout.before, layout.after, layout.pitch
        job.gradient_pitch = layout.gradient_pitch
        job.masks_at, job.columns_at, job.factors_at, job.source_at, job.gradient_at, job.sums_at = layout.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef planes_phase_t phases[4]
        cdef planes_job_t job = self.job
        cdef int64_t index
        if self.partial_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        for index in range(self.sums.count):
            phases[index].sum = self.sums.get(operands, index, &phases[index].epilogue)
            point_forward(&phases[index].sum, operands.itemsize)
        job.phases = phases
        if not self.is_gradient:
            return run_job(self.kernels.planes_correlate, &job, planes_items(&job), self.thread_bytes, workspace,
                           threads)
        job.partial = workspace if job.partials > 1 else NULL
        run_job(self.kernels.planes_weight_gradient, &job, planes_weight_items(&job), self.thread_bytes,
                workspace + self.partial_bytes, threads)
        if job.partials > 1:
            run_job(self.kernels.planes_weight_reduce, &job, phases[0].sum.groups, 0, NULL, threads)
        return 0
