# cython: cdivision=True
"""Loops over the rows of channels-last images; engine/filter_lanes.pyx has what is around them."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from ...engine.correlation cimport CompiledCorrelation, operands_t
from ...engine.filter_lanes cimport PhasesKernel, RowSplitsKernel, packed_phase_t, row_splits_t
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn, tap_count
from ...engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn pack_weight, correlate, weight_gradient, weight_reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef struct nhwc_job_t:
        const packed_phase_t *phases
        int64_t phase_count, band

    int64_t div_up(int64_t a, int64_t b)
    int64_t nhwc_items(const nhwc_job_t *job)


cdef class NhwcKernel(PhasesKernel):
    """The correlations of a problem with one channel and one filter in every group, ``band`` rows an item."""

    cdef int64_t band
    cdef const kernels_t *kernels

    def __cinit__(self, problem, int64_t band):
        self.correlation, self.kernels, self.band = CompiledCorrelation(problem), kernels_at(isa_level(), real_type(problem.dtype)), band
        self.is_forward = problem.direction == "forward"
        self.shared_bytes = self._weight_bytes()

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        return tap_count(c) * c.groups

    cdef int _pack_phase(self, const packed_phase_t *phase) except -1:
        return run_job(self.kernels.pack_weight, phase, tap_count(&phase.correlation), 0, NULL, 1)

    cdef int _correlate(self, const packed_phase_t *phases, char *scratch, int threads) except -1:
        cdef nhwc_job_t job
        job.phases, job.phase_count, job.band = phases, self.correlation.phase_count, self.band
        return run_job(self.kernels.correlate, &job, nhwc_items(&job), self.thread_bytes, scratch, threads)


cdef class NhwcGradient(RowSplitsKernel):
    """backward_weight of the same problems."""

    cdef const kernels_t *kernels

    def __cinit__(self, problem, int64_t splits, int64_t parts):
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        self.correlation, self.kernels = CompiledCorrelation(problem), kernels_at(isa_level(), real_type(problem.dtype))
        self.splits, self.parts = splits, parts
        memset(&none, 0, sizeof(none))
        c = self.correlation.phase(&none, 0, &epilogue)
        self.shared_bytes = self._sum_bytes(&c, self.kernels.lanes)

    cdef int _add_rows(self, const row_splits_t *splits, char *scratch, int threads) except -1:
        return run_job(self.kernels.weight_gradient, splits, splits.splits * splits.parts, self.thread_bytes, scratch,
                       threads)

    cdef int _reduce(self, const row_splits_t *splits, int threads) except -1:
        return run_job(self.kernels.weight_reduce, splits, div_up(splits.correlation.groups, self.kernels.lanes), 0, NULL, threads)
