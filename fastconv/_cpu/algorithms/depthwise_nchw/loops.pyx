# cython: cdivision=True
"""Loops over rows of pixels of planes: one pass over all correlations, or the sums of a weight gradient."""

from libc.stdint cimport int64_t

from ...engine.correlation cimport CompiledCorrelation, Kernel, operands_t, point_forward
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn
from ...engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn correlate, weight_gradient, weight_reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    const int NCHW_ROWS

    ctypedef struct nchw_phase_t:
        correlation_t correlation
        epilogue_t epilogue

    ctypedef struct nchw_job_t:
        const nchw_phase_t *phases
        int64_t row_phases, sides, block, band, before, after, pitch, gradient_pitch, partials
        char *partial
        int64_t masks_at, columns_at, factors_at, source_at, gradient_at, sums_at

    int64_t nchw_items(const nchw_job_t *job)
    int64_t nchw_weight_items(const nchw_job_t *job)


ROWS = NCHW_ROWS
"""Rows of a register tile."""


cdef class NchwKernel(Kernel):
    """The correlations of a problem with their blocking; ``thread_bytes`` of the workspace are for every thread, before
    them come ``partial_bytes`` for parts of a weight gradient."""

    cdef nchw_job_t job
    cdef int64_t thread_bytes, partial_bytes
    cdef bint is_gradient
    cdef const kernels_t *kernels

    def __cinit__(self, problem, blocking):
        cdef nchw_job_t *job = &self.job
        self.correlation = CompiledCorrelation(problem)
        self.kernels = kernels_at(isa_level(), real_type(problem.dtype))
        self.is_gradient = problem.direction == "backward_weight"
        self.thread_bytes, self.partial_bytes = blocking.thread_bytes, blocking.partial_bytes
        job.phases, job.partial = NULL, NULL
        job.row_phases = job.sides = blocking.sides
        job.block, job.band, job.partials = blocking.block, blocking.band, blocking.partials
        job.before, job.after, job.pitch = blocking.before, blocking.after, blocking.pitch
        job.gradient_pitch = blocking.gradient_pitch
        job.masks_at, job.columns_at, job.factors_at, job.source_at, job.gradient_at, job.sums_at = blocking.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef nchw_phase_t phases[4]
        cdef nchw_job_t job = self.job
        cdef int64_t index
        if self.partial_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        for index in range(self.correlation.phase_count):
            phases[index].correlation = self.correlation.phase(operands, index, &phases[index].epilogue)
            point_forward(&phases[index].correlation, operands.itemsize)
        job.phases = phases
        if not self.is_gradient:
            return run_job(self.kernels.correlate, &job, nchw_items(&job), self.thread_bytes, workspace,
                           threads)
        job.partial = workspace if job.partials > 1 else NULL
        run_job(self.kernels.weight_gradient, &job, nchw_weight_items(&job), self.thread_bytes,
                workspace + self.partial_bytes, threads)
        if job.partials > 1:
            run_job(self.kernels.weight_reduce, &job, phases[0].correlation.groups, 0, NULL, threads)
        return 0
