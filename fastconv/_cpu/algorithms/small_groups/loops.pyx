# cython: cdivision=True
"""Loops over bands of small groups; engine/filter_lanes.pyx has what is around them."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from ...engine.correlation cimport CompiledCorrelation, operands_t, point_forward
from ...engine.filter_lanes cimport PhasesKernel, RowSplitsKernel, packed_phase_t, row_splits_t
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn, tap_count
from ...engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn pack_weight, correlate, weight_gradient, weight_reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    const int SMALL_GROUPS_CHANNELS

    ctypedef struct small_groups_reach_t:
        pass

    ctypedef struct small_groups_job_t:
        const packed_phase_t *phases
        int64_t phase_count, band, columns, parts, transposed_pixels
        int64_t apart[2]
        int64_t result[2]
        small_groups_reach_t reach

    ctypedef struct small_groups_gradient_job_t:
        row_splits_t splits
        int64_t band, columns
        small_groups_reach_t reach

    const small_groups_reach_t small_groups_no_reach

    void small_groups_extend(small_groups_reach_t *reach, const correlation_t *c)
    int64_t small_groups_copy_size(const correlation_t *c, const small_groups_reach_t *reach, int64_t rows, int64_t columns,
                              int64_t lanes, int64_t others)
    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t small_groups_items(const small_groups_job_t *job)


MAX_CHANNELS = SMALL_GROUPS_CHANNELS
"""Of the source in a group that is more than a single channel."""


cdef class SmallGroupsKernel(PhasesKernel):
    """The correlations of a problem, ``band`` rows of ``columns`` and one of ``parts`` of the filters an item."""

    cdef small_groups_job_t job
    cdef const kernels_t *kernels

    def __cinit__(self, problem, int64_t band, int64_t columns, int64_t parts):
        cdef small_groups_job_t *job = &self.job
        self.correlation, self.kernels = CompiledCorrelation(problem), kernels_at(isa_level(), real_type(problem.dtype))
        self.is_forward = problem.direction == "forward"
        job.phases, job.phase_count, job.band, job.columns, job.parts = NULL, self.correlation.phase_count, band, columns, parts
        job.result[0], job.result[1] = (problem.output_size if self.is_forward else problem.input_size)[1:]
        job.apart[0], job.apart[1] = (1, 1) if self.is_forward else problem.stride[1:]
        job.transposed_pixels = 0
        if problem.layout != "channels_last" and (self.is_forward or problem.stride[0] == 1):
            job.transposed_pixels = band * job.apart[0] * min(columns * job.apart[1], job.result[1])
        self.shared_bytes = self._weight_bytes()
        self._set_reach(4 if problem.dtype == "float32" else 8)

    cdef _set_reach(self, int64_t itemsize):
        """What all phases reach, and the scratch memory of a band that they are computed from."""
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        cdef small_groups_job_t *job = &self.job
        cdef int64_t index
        job.reach = small_groups_no_reach
        memset(&none, 0, sizeof(none))
        for index in range(self.correlation.phase_count):
            c = self.correlation.phase(&none, index, &epilogue)
            point_forward(&c, itemsize)
            small_groups_extend(&job.reach, &c)
        c = self.correlation.phase(&none, 0, &epilogue)
        self.thread_bytes = round_up(
            small_groups_copy_size(&c, &job.reach, job.band, job.columns, self.kernels.lanes, job.transposed_pixels) * itemsize, 64)

    cdef int64_t _blocks(self, const correlation_t *c) noexcept:
        return div_up(c.groups * c.filters, self.kernels.lanes)

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        return self._blocks(c) * (1 + tap_count(c) * c.channels) * self.kernels.lanes

    cdef int _pack_phase(self, const packed_phase_t *phase) except -1:
        return run_job(self.kernels.pack_weight, phase, self._blocks(&phase.correlation), 0, NULL, 1)

    cdef int _correlate(self, const packed_phase_t *phases, char *scratch, int threads) except -1:
        cdef small_groups_job_t job = self.job
        job.phases = phases
        return run_job(self.kernels.correlate, &job, small_groups_items(&job), self.thread_bytes, scratch,
                       threads)


cdef class SmallGroupsGradient(RowSplitsKernel):
    """backward_weight of the same problems, ``band`` rows of ``columns`` at a time."""

    cdef int64_t band, columns
    cdef small_groups_reach_t reach
    cdef const kernels_t *kernels

    def __cinit__(self, problem, int64_t splits, int64_t parts, int64_t band, int64_t columns):
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        cdef int64_t itemsize = 4 if problem.dtype == "float32" else 8
        self.correlation, self.kernels = CompiledCorrelation(problem), kernels_at(isa_level(), real_type(problem.dtype))
        self.splits, self.parts, self.band, self.columns = splits, parts, band, columns
        self.reach = small_groups_no_reach
        memset(&none, 0, sizeof(none))
        c = self.correlation.phase(&none, 0, &epilogue)
        small_groups_extend(&self.reach, &c)
        self.shared_bytes = self._sum_bytes(&c, self.kernels.lanes)
        self.thread_bytes = round_up(
            small_groups_copy_size(&c, &self.reach, band, columns, self.kernels.lanes, band * columns) * itemsize, 64)

    cdef int _add_rows(self, const row_splits_t *splits, char *scratch, int threads) except -1:
        cdef small_groups_gradient_job_t job
        job.splits, job.band, job.columns, job.reach = splits[0], self.band, self.columns, self.reach
        return run_job(self.kernels.weight_gradient, &job, splits.splits * splits.parts, self.thread_bytes, scratch,
                       threads)

    cdef int _reduce(self, const row_splits_t *splits, int threads) except -1:
        return run_job(self.kernels.weight_reduce, splits,
                       div_up(splits.correlation.groups * splits.correlation.filters, self.kernels.lanes), 0, NULL, threads)
