# cython: cdivision=True
"""Loops over the rows of csrc/depthwise.h and csrc/grouped.h: the weights, then one pass over all correlations."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from ._bound cimport Correlations, Kernel, operands_t, point_forward
from ._runtime cimport kernels_for, real_kernels_t, run_job
from .correlation cimport correlation_t, epilogue_t, item_fn


cdef extern from "depthwise_job.h" nogil:
    const int GROUPED_CHANNELS

    ctypedef struct depthwise_phase_t:
        correlation_t sum
        epilogue_t epilogue
        char *factors
        char *spoiled

    ctypedef struct depthwise_job_t:
        const depthwise_phase_t *phases
        int64_t phase_count, band

    ctypedef struct depthwise_gradient_job_t:
        correlation_t sum
        int64_t splits, parts, pass_first, pass_rows
        char *partial
        char *spoiled

    int64_t div_up(int64_t a, int64_t b)
    int64_t depthwise_taps(const correlation_t *c)
    int64_t depthwise_items(const depthwise_job_t *job)
    int64_t depthwise_split_rows(const depthwise_gradient_job_t *job)


MOST_CHANNELS = GROUPED_CHANNELS
"""Of the source in a group that is more than a single channel."""


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
            return run_job(self._correlate(), &job, depthwise_items(&job), 0, NULL, threads)
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
            size = self._factors(&phase.sum) * operands.itemsize
            if size > workspace_bytes:
                raise MemoryError("workspace smaller than the algorithm asked for")
            self._pack_phase(phase)
            workspace += size
            workspace_bytes -= size
        return spoiled

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        """Elements of the packed weights."""
        return depthwise_taps(c) * c.groups

    cdef int _pack_phase(self, const depthwise_phase_t *phase) except -1:
        return run_job(self.kernels.depthwise_pack, phase, depthwise_taps(&phase.sum), 0, NULL, 1)

    cdef item_fn _correlate(self) noexcept:
        return self.kernels.depthwise_correlate


cdef class GroupedKernel(DepthwiseKernel):
    """The same for small groups, by csrc/grouped.h."""

    cdef int64_t _blocks(self, const correlation_t *c) noexcept:
        return div_up(c.groups * c.filters, self.kernels.lanes)

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        return self._blocks(c) * (1 + depthwise_taps(c) * c.channels) * self.kernels.lanes

    cdef int _pack_phase(self, const depthwise_phase_t *phase) except -1:
        return run_job(self.kernels.grouped_pack, phase, self._blocks(&phase.sum), 0, NULL, 1)

    cdef item_fn _correlate(self) noexcept:
        return self.kernels.grouped_correlate


# Arithmetic of one item of one pass over a weight gradient: KeyboardInterrupt waits for the items begun.
cdef int64_t PASS_MULTIPLY_ADDS = 2**26


cdef class DepthwiseGradient(Kernel):
    """backward_weight of the same problems: sums of ``splits`` of the rows, the channels in ``parts`` items each.

    Refuses where a sum is not finite: a gradient that is not makes NaN of the zeros around the source.
    """

    cdef int64_t splits, parts
    cdef const real_kernels_t *kernels

    def __cinit__(self, problem, int64_t splits, int64_t parts):
        self.sums, self.kernels, self.splits, self.parts = Correlations(problem), kernels_for(problem.dtype), splits, parts
        self.may_refuse = True

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef depthwise_gradient_job_t job
        cdef epilogue_t epilogue
        cdef char spoiled = 0
        cdef int64_t entries, filters, blocks, first
        job.sum = self.sums.get(operands, 0, &epilogue)
        job.splits, job.parts, job.partial, job.spoiled = self.splits, self.parts, workspace, &spoiled
        entries, filters = depthwise_taps(&job.sum) * job.sum.channels, job.sum.groups * job.sum.filters
        blocks = div_up(filters, self.kernels.lanes)
        if self.splits * blocks * entries * self.kernels.lanes * operands.itemsize > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.pass_rows = max(PASS_MULTIPLY_ADDS * self.parts // (job.sum.pixels[2] * entries * filters), 1)
        for first in range(0, depthwise_split_rows(&job), job.pass_rows):
            job.pass_first = first
            run_job(self._gradient(), &job, self.splits * self.parts, 0, NULL, threads)
        run_job(self._reduce(), &job, blocks, 0, NULL, threads)
        return spoiled

    cdef item_fn _gradient(self) noexcept:
        return self.kernels.depthwise_gradient

    cdef item_fn _reduce(self) noexcept:
        return self.kernels.depthwise_reduce


cdef class GroupedGradient(DepthwiseGradient):
    """The same for small groups, by csrc/grouped_weight.h."""

    cdef item_fn _gradient(self) noexcept:
        return self.kernels.grouped_gradient

    cdef item_fn _reduce(self) noexcept:
        return self.kernels.grouped_reduce
