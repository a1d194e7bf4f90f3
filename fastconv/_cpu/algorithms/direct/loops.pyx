# cython: cdivision=True
"""Loops over the items of direct.h and weight.h."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from ...engine.correlation cimport Correlations, Kernel, operands_t, point_forward
from ...engine.runtime cimport kernels_for, real_kernels_t, run_job
from ...engine.kernel_types cimport correlation_t, epilogue_t


cdef extern from "job.h" nogil:
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
        int64_t slots, out_pitch, is_listed, partials
        char *partial
        int64_t factors_at, out_at, sums_at, slices_at, taps_at, offsets_at, lanes_at

    int64_t direct_correlate_items(const direct_job_t *job)
    int64_t direct_weight_items(const direct_job_t *job)


ROWS = DIRECT_ROWS
"""Accumulators of a register tile."""
SLICE_BYTES = sizeof(direct_slice_t)


cdef class DirectKernel(Kernel):
    """The correlations of a problem with their layout; ``thread_bytes`` of the workspace are for every thread, before
    them come ``partial_bytes`` for parts of a weight gradient."""

    cdef direct_job_t job
    cdef int64_t delta[3]
    cdef int64_t thread_bytes, partial_bytes
    cdef bint is_gradient
    cdef const real_kernels_t *kernels

    def __cinit__(self, problem, layout):
        cdef direct_job_t *job = &self.job
        cdef int axis
        self.sums = Correlations(problem)
        self.kernels = kernels_for(problem.dtype)
        self.is_gradient = problem.direction == "backward_weight"
        self.thread_bytes, self.partial_bytes = layout.thread_bytes, layout.partial_bytes
        job.phases, job.phase_count = NULL, self.sums.count
        job.unit, job.entry, job.block, job.slots = layout.unit, layout.entry, layout.block, layout.slots
        job.out_pitch, job.is_listed = layout.out_pitch, layout.is_listed
        job.partials, job.partial = layout.partials, NULL
        for axis in range(3):
            self.delta[axis] = layout.delta[axis]
            job.spacing[axis], job.advance[axis] = layout.spacing[axis], layout.advance[axis]
            job.classes[axis], job.bands[axis] = layout.classes[axis], layout.bands[axis]
            job.band[axis], job.panel[axis] = layout.band[axis], layout.panel[axis]
        job.factors_at, job.out_at, job.sums_at, job.slices_at, job.taps_at, job.offsets_at, job.lanes_at = \
            layout.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef direct_phase_t one
        cdef direct_phase_t *phases = &one
        cdef direct_job_t job = self.job
        cdef int64_t index
        cdef int axis
        if self.partial_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        if job.phase_count > 1:
            phases = <direct_phase_t *>PyMem_Malloc(job.phase_count * sizeof(direct_phase_t))
            if phases == NULL:
                raise MemoryError
        try:
            for index in range(job.phase_count):
                phases[index].sum = self.sums.get(operands, index, &phases[index].epilogue)
                point_forward(&phases[index].sum, operands.itemsize)
                for axis in range(3):
                    # Without taps to be apart any distance will do; all phases of a job have the same.
                    phases[index].sum.delta[axis] = self.delta[axis]
            job.phases = phases
            if self.is_gradient:
                return self._weight_gradient(&job, workspace, threads)
            return run_job(self.kernels.direct_correlate, &job, direct_correlate_items(&job), self.thread_bytes,
                           workspace, threads)
        finally:
            if phases != &one:
                PyMem_Free(phases)

    cdef int _weight_gradient(self, direct_job_t *job, char *workspace, int threads) except -1:
        """Into the result, or as parts into the workspace that are then added up."""
        job.partial = workspace if job.partials > 1 else NULL
        run_job(self.kernels.direct_weight_gradient, job, direct_weight_items(job), self.thread_bytes,
                workspace + self.partial_bytes, threads)
        if job.partials > 1:
            run_job(self.kernels.direct_weight_reduce, job, self.sums.problem.out_channels, 0, NULL, threads)
        return 0
