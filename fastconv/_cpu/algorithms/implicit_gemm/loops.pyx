# cython: cdivision=True
"""Loops of the implicit GEMM: blocking, packed weights, one pass per phase. Arithmetic: implicit_gemm.h."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t
from libc.string cimport memset

from ...engine.correlation cimport INPUT, BoundProblem, CompiledCorrelation, Kernel, merge_axes, operands_t, packed_memory
from ...engine.runtime cimport isa_level, real_type, run_job
from ...engine.workspace cimport aligned
from ...engine.kernel_types cimport correlation_t, epilogue_t, tap_count, item_fn


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn pack_weight, correlate, weight_gradient, weight_reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef struct gemm_job_t:
        correlation_t correlation
        epilogue_t epilogue
        int64_t block_entries, block_pixels, block_filters, splits, pass_first, pass_blocks
        bint pixels_are_columns, is_interleaved, is_weight_gradient, in_place, owns_between, looks_up_weights
        char *packed
        char *partial

    ctypedef struct gemm_scratch_t:
        int64_t bytes

    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t entry_count(const correlation_t *c)
    int64_t pixel_count(const correlation_t *c)
    bint gemm_is_in_place(const gemm_job_t *job, int64_t element_bytes)
    bint gemm_sums_in_place(const gemm_job_t *job)
    bint gemm_stores_panels(const gemm_job_t *job)
    bint gemm_packs_weights(const gemm_job_t *job)
    int64_t gemm_filter_rows(const gemm_job_t *job, int64_t tile_rows)
    int64_t packed_weight_size(const gemm_job_t *job, int64_t tile_columns)
    int64_t gemm_partial_size(const gemm_job_t *job, int64_t tile_columns)
    int64_t gemm_pack_items(const gemm_job_t *job, int64_t tile_rows, int64_t tile_columns)
    int64_t gemm_correlate_items(const gemm_job_t *job)
    int64_t gemm_split_blocks(const gemm_job_t *job)
    int64_t gemm_weight_items(const gemm_job_t *job)
    int64_t gemm_reduce_items(const gemm_job_t *job, int64_t tile_columns)
    gemm_scratch_t gemm_scratch(const gemm_job_t *job, int64_t tile_columns, int64_t lanes, int64_t element_bytes)


# Arithmetic of one item of one pass over a weight gradient: KeyboardInterrupt waits for the items begun.
cdef int64_t PASS_MULTIPLY_ADDS = 2**27


cdef void _swap_operands(correlation_t *c) noexcept:
    """Let the weight gradient of a product of matrices, as in 1x1 convolutions, be that of the transposed product: the
    source is packed, the output gradient is read as it is."""
    cdef int axis
    for axis in range(3):
        if c.taps[axis] != 1 or c.step[axis] != 1 or c.first[axis] != 0 or c.pixels[axis] != c.source_size[axis]:
            return
    c.source, c.result = c.result, c.source
    c.channels, c.filters = c.filters, c.channels
    c.weight_stride[0], c.weight_stride[1] = c.weight_stride[1], c.weight_stride[0]
    for axis in range(5):
        c.source_stride[axis], c.result_stride[axis] = c.result_stride[axis], c.source_stride[axis]


cdef int64_t _balanced(int64_t total, int64_t most, int64_t multiple):
    """The block size at most ``most`` (rounded up to ``multiple``) that cuts ``total`` most evenly."""
    if total <= 0:
        return multiple
    return round_up(div_up(total, div_up(total, most)), multiple)


cdef int64_t _entries(const correlation_t *c, int64_t most):
    """Entries of one block: all taps of some channels where a block has room for a channel."""
    cdef int64_t taps = max(tap_count(c), 1)
    if most < taps:
        return _balanced(entry_count(c), most, 1)
    return taps * _balanced(c.channels, most // taps, 1)


# Elements of one item that clears a result.
cdef int64_t CLEARED_BYTES = 2**20


cdef struct memory_t:
    char *first
    int64_t size_bytes


cdef void _clear(const void *job, int64_t item, void *scratch) noexcept nogil:
    cdef const memory_t *memory = <const memory_t *>job
    memset(memory.first + item * CLEARED_BYTES, 0, min(CLEARED_BYTES, memory.size_bytes - item * CLEARED_BYTES))


cdef class GemmKernel(Kernel):
    """The correlation of a problem with its blocking; the workspace holds ``shared_bytes`` for packed weights or
    partial sums, then ``thread_bytes`` for every thread."""

    cdef gemm_job_t *jobs
    cdef readonly int64_t shared_bytes, thread_bytes
    cdef int64_t itemsize
    cdef int64_t input_shape[5]
    cdef bint is_gradient, is_swapped
    cdef const kernels_t *kernels

    def __cinit__(self, problem, params):
        cdef int64_t index
        self.correlation = CompiledCorrelation(problem)
        self.kernels = kernels_at(isa_level(), real_type(problem.dtype))
        for index in range(5):
            self.input_shape[index] = problem.input_shape[index]
        self.itemsize = 4 if problem.dtype == "float32" else 8
        self.is_gradient = problem.direction == "backward_weight"
        self.is_swapped = self.is_gradient and params["columns"] == "channels"
        self.jobs = <gemm_job_t *>PyMem_Calloc(self.correlation.phase_count, sizeof(gemm_job_t))
        if self.jobs == NULL:
            raise MemoryError
        for index in range(self.correlation.phase_count):
            self._set_blocks(index, params)

    def __dealloc__(self):
        PyMem_Free(self.jobs)

    cdef _set_blocks(self, int64_t index, params):
        cdef gemm_job_t *job = &self.jobs[index]
        cdef correlation_t *c = &job.correlation
        cdef operands_t none
        cdef int64_t blocks, width
        memset(&none, 0, sizeof(none))
        job.correlation = self.correlation.phase(&none, index, &job.epilogue)
        if self.is_swapped:
            _swap_operands(c)
        channels_last = self.correlation.problem.layout == "channels_last"
        job.is_weight_gradient = self.is_gradient
        job.pixels_are_columns = params["columns"] == "pixels"
        job.is_interleaved = channels_last and (self.is_gradient or not job.pixels_are_columns)
        if self.is_gradient:
            job.block_pixels = _balanced(pixel_count(c), params["depth"], 1)
            blocks = max(div_up(pixel_count(c), job.block_pixels), 1)
            job.splits = div_up(blocks, div_up(blocks, params["splits"]))
            job.block_entries = _entries(c, params["span"])
            width = self.kernels.tile_columns
            job.block_filters = _balanced(c.filters, params["filters"], width)
            job.pass_blocks = div_up(PASS_MULTIPLY_ADDS, max(job.block_entries * job.block_filters * job.block_pixels, 1))
        else:
            job.looks_up_weights = params["weights"] == "in_place"
            width = self.kernels.tile_columns if job.pixels_are_columns else 1
            if job.looks_up_weights:
                width = self.kernels.lanes
            job.block_pixels = _balanced(pixel_count(c), params["span"], width)
            job.block_entries = _entries(c, params["depth"])
            width = self.kernels.tile_columns
            if job.pixels_are_columns:
                width = gemm_filter_rows(job, self.kernels.tile_rows)
            job.block_filters = _balanced(c.filters, params["filters"], width)
        self.shared_bytes = max(self.shared_bytes, self._shared(job))
        self.thread_bytes = max(self.thread_bytes, self._scratch(job))
        merge_axes(c, &job.epilogue)
        self.thread_bytes = max(self.thread_bytes, self._scratch(job))

    cdef int64_t _shared(self, const gemm_job_t *job) noexcept:
        """Bytes of a job's packed weights or partial sums."""
        cdef int64_t columns = self.kernels.tile_columns
        if self.is_gradient:
            return round_up(gemm_partial_size(job, columns) * self.itemsize, 64)
        return round_up(packed_weight_size(job, columns) * self.itemsize, 64)

    cdef int64_t _scratch(self, const gemm_job_t *job) noexcept:
        return gemm_scratch(job, self.kernels.tile_columns, self.kernels.lanes, self.itemsize).bytes

    cdef gemm_job_t _job(self, int64_t index, const operands_t *operands) noexcept:
        """The ``index``-th job on ``operands``."""
        cdef gemm_job_t job = self.jobs[index]
        job.correlation = self.correlation.phase(operands, index, &job.epilogue)
        if self.is_swapped:
            _swap_operands(&job.correlation)
        job.owns_between = self.correlation.is_phased and operands.stride[INPUT][4] == 1
        merge_axes(&job.correlation, &job.epilogue)
        job.in_place = gemm_is_in_place(&job, self.itemsize)
        return job

    cdef int _pack(self, const gemm_job_t *job, int threads) except -1:
        return run_job(self.kernels.pack_weight, job,
                       gemm_pack_items(job, self.kernels.tile_rows, self.kernels.tile_columns), 0, NULL, threads)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        if self.is_gradient:
            return self._weight_gradient(operands, workspace, threads)
        return self._correlate(operands, packed, workspace, threads)

    cdef bint _has_empty_sums(self, const operands_t *operands) noexcept:
        """Whether some phases of a dense result are nothing but zeros."""
        cdef gemm_job_t job
        cdef int64_t index, size = 1, last = 0
        cdef int axis
        cdef bint found = False
        for index in range(self.correlation.phase_count):
            job = self._job(index, operands)
            found = found or entry_count(&job.correlation) == 0
        if not self.correlation.is_phased or not found:
            return False
        if job.epilogue.bias != NULL or job.epilogue.add != NULL or job.epilogue.activation != 0:
            return False
        for axis in range(5):
            if operands.stride[INPUT][axis] < 0:
                return False
            size *= self.input_shape[axis]
            last += (self.input_shape[axis] - 1) * operands.stride[INPUT][axis]
        return last == size - 1

    cdef int _clear_result(self, const operands_t *operands, int threads) except -1:
        """Zeros in the whole of a dense backward_input result: one pass, where a phase would touch every line, too."""
        cdef memory_t memory
        cdef int axis
        memory.first, memory.size_bytes = operands.data[INPUT], self.itemsize
        for axis in range(5):
            memory.size_bytes *= self.input_shape[axis]
        return run_job(_clear, &memory, div_up(memory.size_bytes, CLEARED_BYTES), 0, NULL, threads)

    cdef int _correlate(self, const operands_t *operands, object packed, char *workspace, int threads) except -1:
        """forward or backward_input. ``packed``: what ``pack`` returned, or None: pack into the workspace."""
        cdef gemm_job_t job
        cdef Py_buffer view
        cdef char *weights = workspace
        cdef int64_t index, left = self.shared_bytes
        cdef bint is_cleared = self._has_empty_sums(operands)
        if is_cleared:
            self._clear_result(operands, threads)
        if packed is not None:
            weights, left = packed_memory(packed, self.packed_size, &view), view.len
        try:
            for index in range(self.correlation.phase_count):
                job = self._job(index, operands)
                if is_cleared and entry_count(&job.correlation) == 0:
                    continue
                job.packed = weights
                if self._shared(&job) > left:
                    raise MemoryError("workspace smaller than the algorithm asked for")
                if packed is not None:
                    weights += self._shared(&job)
                    left -= self._shared(&job)
                elif gemm_packs_weights(&job):
                    self._pack(&job, threads)
                else:
                    job.packed = NULL
                run_job(self.kernels.correlate, &job, gemm_correlate_items(&job), self.thread_bytes,
                        workspace + self.shared_bytes, threads)
        finally:
            if packed is not None:
                PyBuffer_Release(&view)
        return 0

    cdef int _weight_gradient(self, const operands_t *operands, char *workspace, int threads) except -1:
        """backward_weight: partial sums of each split into the workspace, then their sum into the weight."""
        cdef gemm_job_t job = self._job(0, operands)
        cdef int64_t first
        job.partial = workspace
        for first in range(0, max(gemm_split_blocks(&job), 1), job.pass_blocks):
            job.pass_first = first
            run_job(self.kernels.weight_gradient, &job, gemm_weight_items(&job), self.thread_bytes,
                    workspace + self.shared_bytes, threads)
        if gemm_sums_in_place(&job) or gemm_stores_panels(&job):
            return 0
        return run_job(self.kernels.weight_reduce, &job, gemm_reduce_items(&job, self.kernels.tile_columns), 0, NULL,
                       threads)

    def pack(self, operands, int threads):
        """The weights of all phases of the problem, packed one after the other."""
        cdef BoundProblem bound = BoundProblem(self.correlation.problem, operands)
        cdef Py_buffer view
        cdef int64_t index, offset = 0
        cdef gemm_job_t job
        packed = aligned(self.packed_size)
        PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
        try:
            for index in range(self.correlation.phase_count):
                job = self._job(index, &bound.operands)
                job.packed = <char *>view.buf + offset
                self._pack(&job, threads)
                offset += self._shared(&job)
        finally:
            PyBuffer_Release(&view)
        packed.flags.writeable = False
        return packed

    @property
    def packed_size(self):
        """Bytes of the packed weights of all phases."""
        cdef int64_t index, size = 0
        for index in range(self.correlation.phase_count):
            size += self._shared(&self.jobs[index])
        return size
