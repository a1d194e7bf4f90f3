# cython: cdivision=True
"""Loops over the rows of nhwc.h and small_groups.h: the weights, then one pass over all correlations."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t
from libc.string cimport memset

from ...engine.correlation cimport ALL_IS_SPOILED, DONE, Correlations, Kernel, operands_t, point_forward
from ...engine.runtime cimport isa_level, real_type, run_job
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn nhwc_pack, nhwc_correlate, nhwc_gradient, nhwc_reduce, small_groups_pack, small_groups_correlate, small_groups_gradient, small_groups_reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    const int SMALL_GROUPS_CHANNELS

    ctypedef struct depthwise_phase_t:
        correlation_t sum
        epilogue_t epilogue
        char *factors
        char *spoiled

    ctypedef struct small_groups_reach_t:
        pass

    ctypedef struct depthwise_job_t:
        const depthwise_phase_t *phases
        int64_t phase_count, band, columns, parts, turns
        int64_t apart[2]
        int64_t result[2]
        small_groups_reach_t reach

    ctypedef struct depthwise_gradient_job_t:
        correlation_t sum
        int64_t splits, parts, pass_first, pass_rows, band, columns
        small_groups_reach_t reach
        char *partial
        char *spoiled

    const small_groups_reach_t small_groups_no_reach

    void small_groups_extend(small_groups_reach_t *reach, const correlation_t *c)
    int64_t small_groups_copy_size(const correlation_t *c, const small_groups_reach_t *reach, int64_t rows, int64_t columns,
                              int64_t lanes, int64_t others)
    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t depthwise_taps(const correlation_t *c)
    int64_t depthwise_items(const depthwise_job_t *job)
    int64_t depthwise_split_rows(const depthwise_gradient_job_t *job)


MOST_CHANNELS = SMALL_GROUPS_CHANNELS
"""Of the source in a group that is more than a single channel."""


cdef class NhwcKernel(Kernel):
    """The correlations of a problem with one channel and one filter in every group, ``band`` rows an item.

    Leaves all of forward with weights that are not finite, which make NaN of the zeros around the source. ``shared_bytes`` of
    the workspace are for weights, then come ``thread_bytes`` for every thread.
    """

    cdef int64_t band, columns, parts, turns
    cdef bint is_forward
    cdef int64_t apart[2]
    cdef int64_t result[2]
    cdef readonly int64_t shared_bytes, thread_bytes
    cdef const kernels_t *kernels
    cdef small_groups_reach_t reach

    def __cinit__(self, problem, int64_t band, int64_t columns=0, int64_t parts=1):
        self.sums, self.kernels, self.band = Correlations(problem), kernels_at(isa_level(), real_type(problem.dtype)), band
        self.is_forward, self.parts = problem.direction == "forward", parts
        self.result[0], self.result[1] = (problem.output_size if self.is_forward else problem.input_size)[1:]
        self.apart[0], self.apart[1] = (1, 1) if self.is_forward else problem.stride[1:]
        self.columns = columns or max(self.result[1], 1)
        if problem.layout != "channels_last" and (self.is_forward or problem.stride[0] == 1):
            self.turns = band * self.apart[0] * min(self.columns * self.apart[1], self.result[1])
        self._set_sizes()

    cdef _set_sizes(self):
        """From the methods of this class: of a base class while that is made, so called again."""
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        cdef int64_t index, itemsize = 4 if self.sums.problem.dtype == "float32" else 8
        self.shared_bytes, self.reach = 0, small_groups_no_reach
        memset(&none, 0, sizeof(none))
        for index in range(self.sums.count):
            c = self.sums.get(&none, index, &epilogue)
            point_forward(&c, itemsize)
            small_groups_extend(&self.reach, &c)
            self.shared_bytes += self._factors(&c) * itemsize
        self.shared_bytes = round_up(self.shared_bytes, 64)
        c = self.sums.get(&none, 0, &epilogue)
        self.thread_bytes = round_up(self._scratch(&c) * itemsize, 64)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef depthwise_job_t job
        cdef depthwise_phase_t *phases
        cdef int axis
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        phases = <depthwise_phase_t *>PyMem_Malloc(self.sums.count * sizeof(depthwise_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            if self._pack(phases, operands, workspace) and self.is_forward:
                return ALL_IS_SPOILED
            job.phases, job.phase_count, job.band, job.parts = phases, self.sums.count, self.band, self.parts
            job.reach, job.turns, job.columns = self.reach, self.turns, self.columns
            for axis in range(2):
                job.apart[axis], job.result[axis] = self.apart[axis], self.result[axis]
            return run_job(self._correlate(), &job, depthwise_items(&job), self.thread_bytes,
                           workspace + self.shared_bytes, threads)
        finally:
            PyMem_Free(phases)

    cdef int _pack(self, depthwise_phase_t *phases, const operands_t *operands, char *workspace) except -1:
        """The phases with their weights, of which no two share a tap; whether a weight is not finite."""
        cdef depthwise_phase_t *phase
        cdef int64_t index
        cdef char spoiled = 0
        for index in range(self.sums.count):
            phase = &phases[index]
            phase.sum = self.sums.get(operands, index, &phase.epilogue)
            point_forward(&phase.sum, operands.itemsize)
            phase.factors, phase.spoiled = workspace, &spoiled
            self._pack_phase(phase)
            workspace += self._factors(&phase.sum) * operands.itemsize
        return spoiled

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        """Elements of the packed weights."""
        return depthwise_taps(c) * c.groups

    cdef int64_t _scratch(self, const correlation_t *c) noexcept:
        """Elements that a thread works with."""
        return 0

    cdef int _pack_phase(self, const depthwise_phase_t *phase) except -1:
        return run_job(self.kernels.nhwc_pack, phase, depthwise_taps(&phase.sum), 0, NULL, 1)

    cdef item_fn _correlate(self) noexcept:
        return self.kernels.nhwc_correlate


cdef class SmallGroupsKernel(NhwcKernel):
    """The same for small groups, by small_groups.h, ``columns`` of a row and the filters in ``parts`` items."""

    def __cinit__(self, problem, int64_t band, int64_t columns=0, int64_t parts=1):
        self._set_sizes()

    cdef int64_t _blocks(self, const correlation_t *c) noexcept:
        return div_up(c.groups * c.filters, self.kernels.lanes)

    cdef int64_t _factors(self, const correlation_t *c) noexcept:
        return self._blocks(c) * (1 + depthwise_taps(c) * c.channels) * self.kernels.lanes

    cdef int64_t _scratch(self, const correlation_t *c) noexcept:
        return small_groups_copy_size(c, &self.reach, self.band, self.columns, self.kernels.lanes, self.turns)

    cdef int _pack_phase(self, const depthwise_phase_t *phase) except -1:
        return run_job(self.kernels.small_groups_pack, phase, self._blocks(&phase.sum), 0, NULL, 1)

    cdef item_fn _correlate(self) noexcept:
        return self.kernels.small_groups_correlate


# Arithmetic of one item of one pass over a weight gradient: KeyboardInterrupt waits for the items begun.
cdef int64_t PASS_MULTIPLY_ADDS = 2**26


cdef class NhwcGradient(Kernel):
    """backward_weight of the same problems: sums of ``splits`` of the rows, the channels in ``parts`` items each.

    Leaves all where a sum is not finite: a gradient that is not makes NaN of the zeros around the source.
    """

    cdef int64_t splits, parts, band, columns
    cdef readonly int64_t shared_bytes, thread_bytes
    cdef const kernels_t *kernels
    cdef small_groups_reach_t reach

    def __cinit__(self, problem, int64_t splits, int64_t parts, int64_t band=1, int64_t columns=1):
        self.sums, self.kernels, self.splits, self.parts = Correlations(problem), kernels_at(isa_level(), real_type(problem.dtype)), splits, parts
        self.band, self.columns = band, columns
        self._set_sizes()

    cdef _set_sizes(self):
        """As in NhwcKernel."""
        cdef operands_t none
        cdef correlation_t c
        cdef epilogue_t epilogue
        cdef int64_t filters, itemsize = 4 if self.sums.problem.dtype == "float32" else 8
        self.reach = small_groups_no_reach
        memset(&none, 0, sizeof(none))
        c = self.sums.get(&none, 0, &epilogue)
        small_groups_extend(&self.reach, &c)
        filters = round_up(c.groups * c.filters, self.kernels.lanes)
        self.shared_bytes = round_up(self.splits * filters * depthwise_taps(&c) * c.channels * itemsize, 64)
        self.thread_bytes = round_up(self._scratch(&c) * itemsize, 64)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef depthwise_gradient_job_t job
        cdef epilogue_t epilogue
        cdef char spoiled = 0
        cdef int64_t products, first
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.sum = self.sums.get(operands, 0, &epilogue)
        job.splits, job.parts, job.partial, job.spoiled = self.splits, self.parts, workspace, &spoiled
        job.band, job.columns, job.reach = self.band, self.columns, self.reach
        products = depthwise_taps(&job.sum) * job.sum.channels * job.sum.groups * job.sum.filters
        job.pass_rows = max(PASS_MULTIPLY_ADDS * self.parts // (job.sum.pixels[2] * products), 1)
        for first in range(0, depthwise_split_rows(&job), job.pass_rows):
            job.pass_first = first
            run_job(self._gradient(), &job, self.splits * self.parts, self.thread_bytes, workspace + self.shared_bytes,
                    threads)
        run_job(self._reduce(), &job, div_up(job.sum.groups * job.sum.filters, self.kernels.lanes), 0, NULL, threads)
        return ALL_IS_SPOILED if spoiled else DONE

    cdef int64_t _scratch(self, const correlation_t *c) noexcept:
        """Elements that a thread works with."""
        return 0

    cdef item_fn _gradient(self) noexcept:
        return self.kernels.nhwc_gradient

    cdef item_fn _reduce(self) noexcept:
        return self.kernels.nhwc_reduce


cdef class SmallGroupsGradient(NhwcGradient):
    """The same for small groups, by small_groups_weight.h, ``band`` rows of ``columns`` at a time."""

    def __cinit__(self, problem, int64_t splits, int64_t parts, int64_t band=1, int64_t columns=1):
        self._set_sizes()

    cdef int64_t _scratch(self, const correlation_t *c) noexcept:
        return small_groups_copy_size(c, &self.reach, self.band, self.columns, self.kernels.lanes,
                                 self.band * self.columns)

    cdef item_fn _gradient(self) noexcept:
        return self.kernels.small_groups_gradient

    cdef item_fn _reduce(self) noexcept:
        return self.kernels.small_groups_reduce
