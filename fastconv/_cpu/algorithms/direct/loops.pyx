# cython: cdivision=True
"""Loops over the items of direct.h and weight.h."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t

from ...engine.correlation cimport CompiledCorrelation, Kernel, operands_t, point_forward
from ...engine.runtime cimport isa_level, real_type, run_job
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn correlate, weight_gradient, weight_reduce, few_filters_pack, few_filters_correlate

    const kernels_t *kernels_at(int64_t level, int64_t type)

    const int DIRECT_ROWS

    ctypedef struct direct_slice_t:
        int64_t source, factor, rows

    ctypedef struct direct_phase_t:
        correlation_t correlation
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
    """The correlation of a problem with its blocking; every thread has ``thread_bytes`` of the workspace, after
    ``partial_bytes`` for the partial sums of a weight gradient."""

    cdef direct_job_t job
    cdef int64_t delta[3]
    cdef int64_t thread_bytes, partial_bytes
    cdef bint is_gradient
    cdef const kernels_t *kernels

    def __cinit__(self, problem, blocking):
        cdef direct_job_t *job = &self.job
        cdef int axis
        self.correlation = CompiledCorrelation(problem)
        self.kernels = kernels_at(isa_level(), real_type(problem.dtype))
        self.is_gradient = problem.direction == "backward_weight"
        self.thread_bytes, self.partial_bytes = blocking.thread_bytes, blocking.partial_bytes
        job.phases, job.phase_count = NULL, self.correlation.phase_count
        job.unit, job.entry, job.block, job.slots = blocking.unit, blocking.entry, blocking.block, blocking.slots
        job.out_pitch, job.is_listed = blocking.out_pitch, blocking.is_listed
        job.partials, job.partial = blocking.partials, NULL
        for axis in range(3):
            self.delta[axis] = blocking.delta[axis]
            job.spacing[axis], job.advance[axis] = blocking.spacing[axis], blocking.advance[axis]
            job.classes[axis], job.bands[axis] = blocking.classes[axis], blocking.bands[axis]
            job.band[axis], job.panel[axis] = blocking.band[axis], blocking.panel[axis]
        job.factors_at, job.out_at, job.sums_at, job.slices_at, job.taps_at, job.offsets_at, job.lanes_at = \
            blocking.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
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
                phases[index].correlation = self.correlation.phase(operands, index, &phases[index].epilogue)
                point_forward(&phases[index].correlation, operands.itemsize)
                for axis in range(3):
                    # With a single tap any distance will do; all phases of a job have the same.
                    phases[index].correlation.delta[axis] = self.delta[axis]
            job.phases = phases
            if self.is_gradient:
                return self._weight_gradient(&job, workspace, threads)
            return run_job(self.kernels.correlate, &job, direct_correlate_items(&job), self.thread_bytes,
                           workspace, threads)
        finally:
            if phases != &one:
                PyMem_Free(phases)

    cdef int _weight_gradient(self, direct_job_t *job, char *workspace, int threads) except -1:
        """Into the result, or as partial sums into the workspace, which are then added up."""
        job.partial = workspace if job.partials > 1 else NULL
        run_job(self.kernels.weight_gradient, job, direct_weight_items(job), self.thread_bytes,
                workspace + self.partial_bytes, threads)
        if job.partials > 1:
            run_job(self.kernels.weight_reduce, job, self.correlation.problem.out_channels, 0, NULL, threads)
        return 0


cdef extern from "few_filters_job.h" nogil:
    ctypedef struct few_filters_phase_t:
        correlation_t correlation
        epilogue_t epilogue
        char *factors

    ctypedef struct few_filters_job_t:
        const few_filters_phase_t *phases
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

    int64_t few_filters_taps(const correlation_t *c)
    int64_t few_filters_items(const few_filters_job_t *job)


cdef class FewFiltersKernel(Kernel):
    """The correlation of a problem with its blocking; ``shared_bytes`` of the workspace are for all weights, then come
    ``thread_bytes`` for every thread."""

    cdef few_filters_job_t job
    cdef int64_t shared_bytes, thread_bytes
    cdef const kernels_t *kernels

    def __cinit__(self, problem, blocking):
        cdef few_filters_job_t *job = &self.job
        cdef int axis
        self.correlation, self.kernels = CompiledCorrelation(problem), kernels_at(isa_level(), real_type(problem.dtype))
        self.shared_bytes, self.thread_bytes = blocking.shared_bytes, blocking.thread_bytes
        job.phases, job.phase_count, job.channels = NULL, self.correlation.phase_count, blocking.channels
        job.row_phases = 1
        if problem.direction == "backward_input":
            job.row_phases = max(min(problem.stride[2], problem.input_size[2]), 1)
        for axis in range(3):
            job.band[axis], job.bands[axis] = blocking.band[axis], blocking.bands[axis]
            job.origin[axis], job.reach[axis] = blocking.origin[axis], blocking.reach[axis]
            job.panel[axis] = blocking.panel[axis]
        job.lead, job.plane, job.runs_on = blocking.lead, blocking.plane, blocking.runs_on
        job.out_pitch, job.out_slice = blocking.out_pitch, blocking.out_slice
        job.panel_at, job.out_at, job.offsets_at = blocking.starts

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef few_filters_job_t job = self.job
        cdef few_filters_phase_t *phases
        cdef const correlation_t *c
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        phases = <few_filters_phase_t *>PyMem_Malloc(max(job.phase_count, 1) * sizeof(few_filters_phase_t))
        if phases == NULL:
            raise MemoryError
        try:
            job.phases = phases
            self._set_phases(phases, operands, workspace)
            if job.phase_count == 0:
                return 0
            c = &phases[0].correlation
            run_job(self.kernels.few_filters_pack, &job, job.phase_count * c.groups * c.filters, 0, NULL, threads)
            return run_job(self.kernels.few_filters_correlate, &job, few_filters_items(&job), self.thread_bytes,
                           workspace + self.shared_bytes, threads)
        finally:
            PyMem_Free(phases)

    cdef void _set_phases(self, few_filters_phase_t *phases, const operands_t *operands, char *factors) noexcept:
        cdef correlation_t *c
        cdef int64_t index
        for index in range(self.job.phase_count):
            phases[index].correlation = self.correlation.phase(operands, index, &phases[index].epilogue)
            c = &phases[index].correlation
            point_forward(c, operands.itemsize)
            phases[index].factors = factors
            factors += c.groups * c.filters * c.channels * few_filters_taps(c) * operands.itemsize
