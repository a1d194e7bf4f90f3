# cython: cdivision=True
"""Loops over the rows of csrc/depthwise.h: weights tap by tap, then one pass per correlation."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from ._bound cimport Correlations, Kernel, operands_t, point_forward
from ._runtime cimport kernels_for, real_kernels_t, run_job
from .correlation cimport correlation_t, epilogue_t


cdef extern from "depthwise_job.h" nogil:
    ctypedef struct depthwise_phase_t:
        correlation_t sum
        epilogue_t epilogue
        char *factors
        char *spoiled

    ctypedef struct depthwise_job_t:
        const depthwise_phase_t *phases
        int64_t phase_count, band

    int64_t depthwise_taps(const correlation_t *c)
    int64_t depthwise_items(const depthwise_job_t *job)


cdef class DepthwiseKernel(Kernel):
    """The correlations of a problem with one channel and one filter in every group, ``band`` rows an item.

    Refuses forward with weights that are not finite, which make NaN of the zeros around the source.
    """

    cdef int64_t band
    cdef const real_kernels_t *kernels

    def __cinit__(self, problem, int64_t band):
        self.sums, self.kernels, self.band = Correlations(problem), kernels_for(problem.dtype), band
        self.may_refuse = problem.direction == "forward"

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef depthwise_job_t job
        cdef depthwise_phase_t *phases = <depthwise_phase_t *>PyMem_Malloc(self.sums.count * sizeof(depthwise_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            if self._pack(phases, operands, workspace, workspace_bytes) and self.may_refuse:
                return 1
            job.phases, job.phase_count, job.band = phases, self.sums.count, self.band
            return run_job(self.kernels.depthwise_correlate, &job, depthwise_items(&job), 0, NULL, threads)
        finally:
            PyMem_Free(phases)

    cdef int _pack(self, depthwise_phase_t *phases, const operands_t *operands, char *workspace,
                   int64_t workspace_bytes) except -1:
        """The phases with their weights, of which no two share a tap; whether a weight is not finite."""
        cdef depthwise_phase_t *phase
        cdef int64_t index, size
        cdef char spoiled = 0
        for index in range(self.sums.count):
            phase = &phases[index]
            phase.sum = self.sums.get(operands, index, &phase.epilogue)
            point_forward(&phase.sum, operands.itemsize)
            phase.factors, phase.spoiled = workspace, &spoiled
            size = depthwise_taps(&phase.sum) * phase.sum.groups * operands.itemsize
            if size > workspace_bytes:
                raise MemoryError("workspace smaller than the algorithm asked for")
            run_job(self.kernels.depthwise_pack, phase, depthwise_taps(&phase.sum), 0, NULL, 1)
            workspace += size
            workspace_bytes -= size
        return spoiled
