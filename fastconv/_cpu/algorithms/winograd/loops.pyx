# cython: cdivision=True
"""Loops of Winograd's minimal filtering: transformed weights, then blocks of tiles. Arithmetic: winograd.h."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from ...engine.correlation cimport ADD, ALL_IS_SPOILED, DONE, IMAGES_ARE_SPOILED, BoundProblem, CompiledCorrelation, Kernel, operands_t
from ...engine.correlation cimport packed_memory, point_forward
from ...engine.runtime cimport isa_level, real_type, run_job
from ...engine.workspace cimport aligned
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn pack_weight, block, source, panel, operand, product, split, gradient

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef struct winograd_job_t:
        correlation_t correlation
        epilogue_t epilogue
        int64_t taps[2]
        int64_t source_phases[2]
        int64_t result_phases[2]
        int64_t source_lanes[2]
        int64_t result_lanes[2]
        int64_t origin[2]
        int64_t lead[2]
        int64_t tile_size[2]
        int64_t outputs[2]
        int64_t spacing[2]
        int64_t classes[2]
        int64_t tiles[2]
        int64_t ragged[2]
        int64_t early[2]
        int64_t block[2]
        int64_t panels, depth
        char *packed
        char *transformed
        char *spoiled
        int64_t pass_first, pass_rows, accumulates, splits, round_first, round_passes
        char *gradient
        char *sums

    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t winograd_packed_size(const winograd_job_t *job, int64_t tile_columns, int64_t lanes)
    int64_t winograd_pack_items(const winograd_job_t *job, int64_t tile_columns, int64_t lanes)
    int64_t winograd_transformed_size(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_block_items(const winograd_job_t *job)
    int64_t winograd_source_items(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_panel_items(const winograd_job_t *job, int64_t tile_columns)
    int64_t winograd_windows(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_tile_rows(const winograd_job_t *job)
    int64_t winograd_patch_size(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_pass_source_size(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_operand_items(const winograd_job_t *job, int64_t tile_columns, int64_t lanes)
    int64_t winograd_product_items(const winograd_job_t *job, int64_t tile_columns)
    int64_t winograd_points(const winograd_job_t *job)
    int64_t winograd_reduction(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_passes(const winograd_job_t *job)
    int64_t winograd_split_passes(const winograd_job_t *job)
    int64_t winograd_pass_tiles(const winograd_job_t *job)
    int64_t winograd_pass_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes, int64_t element_bytes)
    int64_t winograd_sums_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes, int64_t element_bytes)
    double winograd_needed_share(const winograd_job_t *job, int64_t lanes)
    int64_t winograd_scratch_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes,
                                   int64_t element_bytes)


# On an axis with more tiles it does not pay to treat the last one of a plane by itself.
cdef int64_t MAX_TILES_BESIDE_RAGGED = 12
# Tiles whose pixels are gathered together: they stay in L1.
cdef int64_t GRADIENT_BLOCK_TILES = 28
# Transformed weights of a block of the reduction, which stay in L2 until they are multiplied. There are no blocks where
# tiles are so many that their sums, which each block reads and writes, are more than half of that.
cdef int64_t BLOCK_BYTES = 13 * 2**16
# The most splits of the passes of a weight gradient, and bytes of all their sums; not derived from the threads.
cdef int64_t MAX_SPLITS = 8
cdef int64_t SPLIT_BYTES = 2**25
# Products of one item of one round over the splits: KeyboardInterrupt waits for the items begun.
cdef int64_t ROUND_MULTIPLY_ADDS = 2**27


cdef int64_t _lead(int64_t stride, int64_t taps, int64_t before) noexcept:
    """Missing taps to count first, so that with them ``before`` is a whole number of strides if possible."""
    cdef int64_t lead = (-before % stride + stride) % stride
    return lead if taps + lead <= round_up(taps, stride) else 0


cdef void _join_phases(int axis, BoundProblem bound, correlation_t *c, epilogue_t *e):
    """Make phase 0 of an input gradient's correlation that of the whole axis, as in job.h."""
    cdef correlation_t forward = bound.forward()
    cdef int64_t stride = forward.step[axis], before = -forward.first[axis]
    before += _lead(stride, forward.taps[axis], before)
    c.weight = forward.weight
    c.taps[axis] = forward.taps[axis]
    c.weight_stride[2 + axis] = forward.weight_stride[2 + axis]
    c.pixels[axis] = forward.source_size[axis]
    c.result_stride[2 + axis] = forward.source_stride[2 + axis]
    e.add_stride[2 + axis] = bound.operands.stride[ADD][2 + axis]
    c.delta[axis] = 1
    c.first[axis] = (before - (before % stride + stride) % stride) // stride - div_up(c.taps[axis], stride) + 1


cdef class _Job:
    """The tiles of a problem; without operands for its sizes alone."""

    cdef winograd_job_t job
    cdef const kernels_t *kernels
    cdef int64_t itemsize

    def __cinit__(self, problem, params, BoundProblem bound=None):
        cdef int axis
        self.kernels = kernels_at(isa_level(), real_type(problem.dtype))
        self.itemsize = 4 if problem.dtype == "float32" else 8
        if bound is None:
            self._set_sizes(problem)
        else:
            self.job.correlation = bound.phase(0, &self.job.epilogue)
            if problem.direction == "backward_input":
                for axis in range(1, 3):
                    if problem.stride[axis] > 1:
                        _join_phases(axis, bound, &self.job.correlation, &self.job.epilogue)
        point_forward(&self.job.correlation, self.itemsize)
        for axis in range(2):
            self._set_tiles(axis, problem, params["tile_size"])
        self._set_blocks(params, problem.direction == "backward_weight")

    cdef _set_sizes(self, problem):
        cdef correlation_t *c = &self.job.correlation
        cdef int i
        forward = problem.direction != "backward_input"
        c.batch, c.groups = problem.batch, problem.groups
        c.channels = (problem.in_channels if forward else problem.out_channels) // problem.groups
        c.filters = (problem.out_channels if forward else problem.in_channels) // problem.groups
        for i in range(3):
            c.taps[i] = problem.kernel_size[i]
            c.pixels[i] = (problem.output_size if forward else problem.input_size)[i]
            c.delta[i] = problem.dilation[i]

    cdef _set_tiles(self, int axis, problem, int64_t tile_size):
        cdef winograd_job_t *job = &self.job
        cdef int64_t stride = problem.stride[1 + axis], taps = problem.kernel_size[1 + axis]
        cdef int64_t size = job.correlation.pixels[1 + axis]
        is_result = problem.direction == "backward_input"
        job.source_phases[axis] = job.result_phases[axis] = job.source_lanes[axis] = job.result_lanes[axis] = 1
        if is_result and phases_are_lanes(problem):
            job.result_lanes[axis] = stride
        elif is_result:
            job.result_phases[axis] = stride
        elif phases_are_lanes(problem):
            job.source_lanes[axis] = stride
        else:
            job.source_phases[axis] = stride
        job.taps[axis] = div_up(taps, stride)
        job.tile_size[axis] = 1 if taps == 1 else tile_size
        job.outputs[axis] = job.tile_size[axis] - job.taps[axis] + 1
        job.spacing[axis] = 1 if taps == 1 else problem.dilation[1 + axis]
        job.classes[axis] = max(min(job.spacing[axis], size), 1)
        if is_result and stride > 1:
            before = problem.padding[1 + axis][0]
            job.lead[axis] = _lead(stride, taps, before)
            job.origin[axis] = -((before + job.lead[axis]) % stride)
            size = div_up(size - job.origin[axis], stride)
        size = div_up(size, job.spacing[axis])
        job.tiles[axis] = div_up(size, job.outputs[axis])
        # The tiles reach this many results too far. A tile of 5 has no point 0 that could be left out.
        beyond = job.tiles[axis] * job.outputs[axis] - size
        job.ragged[axis] = beyond > 0 and job.tiles[axis] <= MAX_TILES_BESIDE_RAGGED
        job.early[axis] = job.ragged[axis] and beyond > 1 and tile_size != 5

    cdef _set_blocks(self, params, bint is_gradient):
        """Blocks of about ``params["tiles"]`` tiles, of whole tile rows where one fits, cut as evenly as possible."""
        cdef winograd_job_t *job = &self.job
        cdef int64_t most = params["tiles"]
        cdef int64_t rows = winograd_tile_rows(job)
        job.block[1] = div_up(job.tiles[1], div_up(job.tiles[1], most))
        job.block[0] = div_up(rows, div_up(rows, max(most // job.block[1], 1)))
        job.panels = params["panels"]
        self._set_depth()
        if is_gradient:
            job.pass_rows = max(most // job.tiles[1], 1)
            job.pass_rows = div_up(rows, div_up(rows, job.pass_rows))
            job.block[0] = min(job.block[0], max(GRADIENT_BLOCK_TILES // job.tiles[1], 1))
            self._set_splits()
        if is_gradient or job.panels:
            job.block[1] = job.tiles[1]

    cdef _set_depth(self):
        cdef winograd_job_t *job = &self.job
        cdef int64_t all = max(winograd_windows(job, self.kernels.lanes), 1), of_window, phases, results
        job.depth = all
        if job.panels:
            phases, results = job.source_phases[0] * job.source_phases[1], job.result_phases[0] * job.result_phases[1]
            of_window = winograd_points(job) * phases * self.kernels.lanes * job.panels * results
            of_window *= self.kernels.tile_columns * self.itemsize
            job.depth = min(max(BLOCK_BYTES // of_window, 1), all)
            if 2 * winograd_tile_rows(job) * job.tiles[1] > job.depth * phases * self.kernels.lanes:
                job.depth = all

    cdef _set_splits(self):
        cdef winograd_job_t *job = &self.job
        cdef int64_t passes = winograd_passes(job), most = min(MAX_SPLITS, SPLIT_BYTES // max(self.sums_bytes(), 1))
        cdef int64_t filters = round_up(job.correlation.filters, self.kernels.tile_columns)
        cdef int64_t products = winograd_points(job) * winograd_reduction(job, self.kernels.lanes) * filters
        job.splits = max(min(most, passes), 1)
        job.splits = max(div_up(passes, winograd_split_passes(job)), 1) if passes else 1
        job.round_passes = div_up(ROUND_MULTIPLY_ADDS,
                                  max(products * winograd_pass_tiles(job) * job.correlation.groups, 1))

    cdef int64_t packed_bytes(self):
        return round_up(self.job.correlation.groups * self.itemsize * winograd_packed_size(
            &self.job, self.kernels.tile_columns, self.kernels.lanes), 64)

    cdef int64_t transformed_bytes(self):
        return round_up(self.job.correlation.groups * self.itemsize * winograd_transformed_size(
            &self.job, self.kernels.lanes), 64)

    cdef int64_t scratch_bytes(self):
        return winograd_scratch_bytes(&self.job, self.kernels.tile_columns, self.kernels.lanes, self.itemsize)

    cdef int64_t pass_bytes(self):
        return winograd_pass_bytes(&self.job, self.kernels.tile_columns, self.kernels.lanes, self.itemsize)

    cdef int64_t sums_bytes(self):
        return winograd_sums_bytes(&self.job, self.kernels.tile_columns, self.kernels.lanes, self.itemsize)

    cdef int64_t patch_bytes(self):
        return round_up(winograd_patch_size(&self.job, self.kernels.lanes) * self.itemsize, 64)

    cdef pack(self, char *packed, int threads):
        self.job.packed = packed
        run_job(self.kernels.pack_weight, &self.job,
                winograd_pack_items(&self.job, self.kernels.tile_columns, self.kernels.lanes), 0, NULL, threads)


def phases_are_lanes(problem):
    """Whether pairs of a channel and a phase are the lanes: the strided array has few channels."""
    return max(problem.stride[1:]) > 1 and problem.in_channels // problem.groups < kernels_at(isa_level(), real_type(problem.dtype)).lanes


def memory(problem, params):
    """(bytes shared by the threads: transformed weights, or with panels the transformed input; bytes of one thread).

    For a weight gradient: all sums, and one patch of pixels; both operands of a pass are shared or, in splits, are not.
    """
    cdef _Job job = _Job(problem, params)
    if problem.direction == "backward_weight":
        sums = job.job.splits * job.sums_bytes()
        if job.job.splits > 1:
            return sums, job.pass_bytes() + job.patch_bytes()
        return sums + job.pass_bytes(), job.patch_bytes()
    return job.transformed_bytes() if job.job.panels else job.packed_bytes(), job.scratch_bytes()


def block_bytes(problem, params):
    """Bytes of the transformed weights of one block of the reduction of an item of panels."""
    cdef _Job job = _Job(problem, params)
    cdef winograd_job_t *j = &job.job
    return (winograd_points(j) * j.depth * j.source_phases[0] * j.source_phases[1] * job.kernels.lanes * j.panels
            * j.result_phases[0] * j.result_phases[1] * job.kernels.tile_columns * job.itemsize)


def needed_share(problem, params):
    """The share of all products that is computed."""
    cdef _Job job = _Job(problem, params)
    return winograd_needed_share(&job.job, job.kernels.lanes)


def pack(problem, params, operands, int threads):
    """The transformed weights; the data arrays are not read."""
    cdef _Job job = _Job(problem, params, BoundProblem(problem, operands))
    cdef Py_buffer view
    packed = aligned(job.packed_bytes())
    PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
    try:
        job.pack(<char *>view.buf, threads)
    finally:
        PyBuffer_Release(&view)
    packed.flags.writeable = False
    return packed


cdef struct scratch_t:
    char *memory
    int64_t bytes
    int threads


cdef int _run(_Job job, item_fn fn, int64_t items, const scratch_t *scratch, int64_t shared,
              int64_t thread_bytes) except -1:
    """Every item, with ``thread_bytes`` of the scratch memory for each thread behind those that are ``shared``."""
    if shared + thread_bytes * scratch.threads > scratch.bytes:
        raise MemoryError("workspace smaller than the algorithm asked for")
    return run_job(fn, &job.job, items, thread_bytes, scratch.memory + shared, scratch.threads)


cdef int _correlate(_Job job, packed, const scratch_t *scratch, unsigned char *marks) except -1:
    """forward or backward_input."""
    cdef int64_t n
    cdef Py_buffer view
    job.job.packed = NULL if packed is None else packed_memory(packed, job.packed_bytes(), &view)
    job.job.spoiled = <char *>marks
    try:
        if job.job.panels:
            _by_panels(job, scratch)
        else:
            _by_blocks(job, scratch)
    finally:
        if packed is not None:
            PyBuffer_Release(&view)
    for n in range(job.job.correlation.batch):
        if marks[n]:
            return IMAGES_ARE_SPOILED
    return DONE


cdef int _by_blocks(_Job job, const scratch_t *scratch) except -1:
    """Weights that are not packed are transformed into the workspace, then blocks of tiles are computed."""
    cdef int64_t shared = 0
    if job.job.packed == NULL:
        shared = job.packed_bytes()
        if shared > scratch.bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.pack(scratch.memory, scratch.threads)
    return _run(job, job.kernels.block, winograd_block_items(&job.job), scratch, shared, job.scratch_bytes())


cdef int _by_panels(_Job job, const scratch_t *scratch) except -1:
    """All tiles are transformed into the workspace, then panels of filters are computed."""
    cdef int64_t shared = job.transformed_bytes()
    job.job.transformed = scratch.memory
    _run(job, job.kernels.source, winograd_source_items(&job.job, job.kernels.lanes), scratch, shared,
         job.scratch_bytes())
    return _run(job, job.kernels.panel, winograd_panel_items(&job.job, job.kernels.tile_columns), scratch, shared,
                job.scratch_bytes())


cdef int _weight_gradient(_Job job, const scratch_t *scratch, unsigned char *marks) except -1:
    """backward_weight."""
    cdef int64_t shared = job.job.splits * job.sums_bytes()
    job.job.spoiled = <char *>marks
    job.job.sums = scratch.memory
    if job.job.splits > 1:
        _add_splits(job, shared, scratch)
    else:
        _add_passes(job, shared, scratch)
    _run(job, job.kernels.gradient,
         winograd_pack_items(&job.job, job.kernels.tile_columns, job.kernels.lanes), scratch, shared, 0)
    return ALL_IS_SPOILED if marks[0] else DONE


cdef int _add_passes(_Job job, int64_t shared, const scratch_t *scratch) except -1:
    """Pass by pass: its operands into the workspace, then its products."""
    cdef int64_t groups = job.job.correlation.groups * job.itemsize, first
    job.job.transformed = job.job.sums + shared
    job.job.gradient = job.job.transformed + groups * winograd_pass_source_size(&job.job, job.kernels.lanes)
    shared += job.pass_bytes()
    for first in range(0, winograd_tile_rows(&job.job), job.job.pass_rows):
        job.job.pass_first, job.job.accumulates = first, first > 0
        _run(job, job.kernels.operand, winograd_operand_items(
            &job.job, job.kernels.tile_columns, job.kernels.lanes), scratch, shared, job.patch_bytes())
        _run(job, job.kernels.product, winograd_product_items(&job.job, job.kernels.tile_columns), scratch, shared, 0)
    return 0


cdef int _add_splits(_Job job, int64_t shared, const scratch_t *scratch) except -1:
    """Round by round: some passes of every split."""
    cdef int64_t first
    for first in range(0, winograd_split_passes(&job.job), job.job.round_passes):
        job.job.round_first = first
        _run(job, job.kernels.split, job.job.splits, scratch, shared, job.pass_bytes() + job.patch_bytes())
    return 0


cdef class WinogradKernel(Kernel):
    """Marks images whose results are not finite."""

    cdef object params

    def __cinit__(self, problem, params):
        self.correlation, self.params = CompiledCorrelation(problem), params

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef _Job job = _Job(self.correlation.problem, self.params, BoundProblem.over(self.correlation, operands))
        cdef scratch_t scratch
        scratch.memory, scratch.bytes, scratch.threads = workspace, workspace_bytes, threads
        if self.correlation.problem.direction == "backward_weight":
            return _weight_gradient(job, &scratch, marks)
        return _correlate(job, packed, &scratch, marks)
