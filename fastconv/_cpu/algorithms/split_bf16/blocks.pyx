# cython: cdivision=True
"""How convolutions by bfloat16 pieces are cut into items and passes, and where taps lie; job.h has the layout."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t
from libc.string cimport memset

from ...engine.correlation cimport CompiledCorrelation, merge_axes, operands_t, point_forward
from ...engine.kernel_types cimport correlation_t, tap_count
from .job cimport (
    PANEL_FILTERS,
    div_up,
    element_t,
    greatest_common_divisor,
    round_up,
    split_axis_t,
    split_channel_blocks,
    split_channel_panels,
    split_gradient_scratch_bytes,
    split_gradients_bytes,
    split_images,
    split_items,
    split_job_t,
    split_lines_bytes,
    split_packed_bytes,
    split_panels,
    split_phase_lines,
    split_scratch,
    split_slots,
    split_phase_t,
    split_tiling,
    split_totals_bytes,
)

ELEMENTS = {"float32": 0, "bfloat16": 1, "float16": 2}
"""The values of element_t in job.h."""
PIECES = {1: 1, 3: 2, 6: 3}
"""Pieces of an element, by the number of products."""

# Sums of one item, and panels times taps that a block of the source is worth converting for.
cdef int64_t MAX_LINES = 1024
cdef int64_t MIN_PRODUCTS = 32
# Lines of one tile of a weight gradient, and of one pass: more would add up more roundings.
cdef int64_t GRADIENT_LINES = 16
cdef int64_t MIN_PASS_LINES = 128
cdef int64_t MAX_PASS_LINES = 2048
# Work items wanted at least, so that every thread finds work; not derived from the number of threads.
cdef int64_t MIN_ITEMS = 8


cdef class SplitBlocks:
    """The correlation of a problem cut into items, or into passes of a weight gradient. Immutable.

    With ``merges``, axes that are read whole and have a single tap become one; arrays that do not allow this need
    blocks without it.
    """

    def __cinit__(self, problem, params, bint merges, int64_t tile_lines):
        cdef split_job_t *job = &self.job
        cdef operands_t none
        cdef int64_t index, taps = 0
        memset(&none, 0, sizeof(none))
        self.correlation, self.merges = CompiledCorrelation(problem), merges
        self.is_gradient = job.is_paired = problem.direction == "backward_weight"
        job.phase_count = self.correlation.phase_count
        job.element = <element_t><int>ELEMENTS[problem.dtype]
        job.element_bytes = 4 if problem.dtype == "float32" else 2
        job.products, job.pieces = params["products"], PIECES[params["products"]]
        self.phases = <split_phase_t *>PyMem_Calloc(job.phase_count, sizeof(split_phase_t))
        if self.phases == NULL:
            raise MemoryError
        job.phases = self.phases
        for index in range(job.phase_count):
            self._set_phase(&none, index, &self.phases[index])
            taps += tap_count(&self.phases[index].correlation)
        self.tap_lines = <int64_t *>PyMem_Calloc(max(taps, 1), sizeof(int64_t))
        if self.tap_lines == NULL:
            raise MemoryError
        self._set_axes()
        self._set_shared()
        if self.is_gradient:
            self._set_halves()
            self._set_pass(params["bytes"])
        else:
            self._set_items(tile_lines, params["bytes"])
        if job.block[2] < job.pixels[2]:
            job.axis[2].shared = 0
        self._set_tap_lines()
        self._set_bytes(tile_lines)

    def __dealloc__(self):
        PyMem_Free(self.phases)
        PyMem_Free(self.tap_lines)

    cdef _set_axes(self):
        """What the taps of all phases read, from the first pixel on."""
        cdef split_job_t *job = &self.job
        cdef split_axis_t *axis
        cdef correlation_t *c
        cdef int64_t index, period
        cdef int a
        for a in range(3):
            axis = &job.axis[a]
            c = &self.phases[0].correlation
            axis.step, axis.delta, axis.origin = c.step[a], c.delta[a], c.first[a]
            for index in range(job.phase_count):
                c = &self.phases[index].correlation
                job.pixels[a] = max(job.pixels[a], c.pixels[a])
                if c.taps[a] > 0:
                    axis.origin = min(axis.origin, c.first[a])
            period = axis.step // greatest_common_divisor(axis.step, axis.delta)
            axis.phases = max(min(period, c.taps[a]), 1)
            for index in range(job.phase_count):
                c = &self.phases[index].correlation
                if c.taps[a] > 0:
                    axis.reach = max(axis.reach, (c.first[a] - axis.origin + (c.taps[a] - 1) * c.delta[a]) // axis.step)

    cdef _set_shared(self):
        """Zeros that rows share: as many as there are before the first pixel and after the last, but no more than what
        rows reach beyond their pixels, or the lines of a row's pixels would begin before the last row's end."""
        cdef split_axis_t *axis = &self.job.axis[2]
        cdef int64_t after = axis.origin + self.job.pixels[2] + axis.reach - self.phases[0].correlation.source_size[2]
        if axis.step == 1:
            axis.shared = max(min(-axis.origin, after, axis.reach), 0)

    cdef _set_halves(self):
        """An odd number of images: the pairs are the halves of each."""
        cdef split_job_t *job = &self.job
        cdef int axis
        if self.phases[0].correlation.batch % 2 == 0:
            return
        for axis in (1, 0):
            if job.pixels[axis] > 1:
                job.part_pixels[axis] = job.pixels[axis] = div_up(job.pixels[axis], 2)
                return

    cdef _set_items(self, int64_t tile_lines, int64_t source_bytes):
        """Items whose converted source takes about ``source_bytes``, of all filters if there are enough of them."""
        cdef split_job_t *job = &self.job
        cdef int64_t blocks = split_channel_blocks(job), lines, most, panels, items
        job.chunk = blocks
        lines = source_bytes // (blocks * job.pieces * 64)
        if lines < MAX_LINES // 4:
            job.chunk = max(source_bytes // (MAX_LINES * job.pieces * 64), 1)
            lines = MAX_LINES
        self._cut(tile_lines, max(min(lines, MAX_LINES), 2 * tile_lines))
        panels = split_panels(job)
        job.block_filters = panels * PANEL_FILTERS
        items = split_items(job)
        if items < MIN_ITEMS:
            most = max(MIN_PRODUCTS // max(tap_count(&self.phases[0].correlation), 1), 1)
            job.block_filters = max(panels // div_up(MIN_ITEMS, items), min(most, panels)) * PANEL_FILTERS

    cdef _set_pass(self, int64_t operand_bytes):
        """Passes whose converted operands take about ``operand_bytes``."""
        cdef split_job_t *job = &self.job
        cdef int64_t blocks = 2 * (split_channel_panels(job) + split_panels(job))
        job.chunk, job.block_filters = split_channel_blocks(job), split_panels(job) * PANEL_FILTERS
        blocks *= self.phases[0].correlation.groups
        blocks = operand_bytes // (blocks * job.pieces * 64)
        self._cut(GRADIENT_LINES, min(max(blocks, MIN_PASS_LINES), MAX_PASS_LINES))

    cdef _cut(self, int64_t tile_lines, int64_t lines):
        """Blocks of about so many lines: whole images, else whole planes, rows, or parts of a row, cut evenly."""
        cdef split_job_t *job = &self.job
        cdef int64_t size, pixels = 1, most
        cdef int axis
        for axis in range(3):
            job.block[axis] = job.pixels[axis]
            pixels *= max(job.pixels[axis], 1)
        self._set_images(tile_lines, lines)
        most = max(lines // job.images, 1)
        job.image_sets = max(min(most // pixels, div_up(split_images(job), job.images)), 1)
        for axis in range(3):
            size = max(job.pixels[axis], 1)
            pixels //= size
            job.block[axis] = max(most // pixels, 1)
            if axis == 2:
                job.block[2] = round_up(job.block[2], 2 * tile_lines)
            job.block[axis] = div_up(size, div_up(size, min(job.block[axis], size)))
            if axis == 2 and job.block[2] < size:
                job.block[2] = min(round_up(job.block[2], tile_lines), size)
            most = max(most // job.block[axis], 1)

    cdef _set_images(self, int64_t tile_lines, int64_t lines):
        """Interleave images so that as few lines as possible of their tiles are not pixels."""
        cdef split_job_t *job = &self.job
        cdef int64_t images, batch = split_images(job)
        cdef double cost, least = 0
        best = 1
        for images in (1, 2, 4, 8):
            if images > batch or (images > 1 and images * job.pixels[0] * job.pixels[1] * job.pixels[2] > lines):
                break
            job.images = images
            cost = div_up(batch, images) * split_tiling(job, job.pixels, tile_lines).set_tiles * (1 + 0.002 * images)
            if images == 1 or cost < 0.985 * least:
                best, least = images, cost
        job.images = best

    cdef _set_tap_lines(self):
        cdef split_job_t *job = &self.job
        cdef split_axis_t *axis
        cdef correlation_t *c
        cdef int64_t index, tap, rest, at, phase, slot, count = 0
        cdef int64_t t[3]
        cdef int a
        for index in range(job.phase_count):
            c = &self.phases[index].correlation
            self.phases[index].tap_lines = self.tap_lines + count
            for tap in range(tap_count(c)):
                t[2], rest = tap % c.taps[2], tap // c.taps[2]
                t[1], t[0] = rest % c.taps[1], rest // c.taps[1]
                phase = slot = 0
                for a in range(3):
                    axis = &job.axis[a]
                    at = c.first[a] - axis.origin + t[a] * c.delta[a]
                    phase = phase * axis.phases + t[a] % axis.phases
                    slot = slot * split_slots(job, a) + at // axis.step
                self.tap_lines[count + tap] = phase * split_phase_lines(job) + slot * job.images
            count += tap_count(c)

    cdef _set_bytes(self, int64_t tile_lines):
        """Memory that the threads share (packed weights; totals and operands of a pass), and that of one thread."""
        cdef split_job_t *job = &self.job
        cdef int64_t index
        if self.is_gradient:
            self.shared_bytes = split_totals_bytes(job) + split_lines_bytes(job) + split_gradients_bytes(job)
            self.thread_bytes = split_gradient_scratch_bytes(job)
            return
        self.shared_bytes = HEADER_BYTES
        for index in range(job.phase_count):
            self.shared_bytes += split_packed_bytes(job, &self.phases[index].correlation)
        self.thread_bytes = split_scratch(job, tile_lines).bytes

    cdef void _set_phase(self, const operands_t *operands, int64_t index, split_phase_t *phase) noexcept:
        """The ``index``-th phase on ``operands``, its axes merged where they can be."""
        phase.correlation = self.correlation.phase(operands, index, &phase.epilogue)
        point_forward(&phase.correlation, self.job.element_bytes)
        if self.merges:
            merge_axes(&phase.correlation, &phase.epilogue)

    cdef bint fits(self, const operands_t *operands) noexcept:
        """Whether the arrays have these axes."""
        cdef split_phase_t phase
        cdef int axis
        self._set_phase(operands, 0, &phase)
        for axis in range(3):
            if phase.correlation.pixels[axis] != self.phases[0].correlation.pixels[axis]:
                return False
        return self.job.phase_count == 1 or not self.merges

    cdef split_phase_t *bind(self, const operands_t *operands, char *packed) except NULL:
        """The phases on ``operands``, their weights to be found one after the other from ``packed`` on; to be freed."""
        cdef int64_t index
        cdef split_phase_t *phases = <split_phase_t *>PyMem_Calloc(self.job.phase_count, sizeof(split_phase_t))
        if phases == NULL:
            raise MemoryError
        for index in range(self.job.phase_count):
            self._set_phase(operands, index, &phases[index])
            phases[index].tap_lines = self.phases[index].tap_lines
            phases[index].packed = packed
            packed += split_packed_bytes(&self.job, &phases[index].correlation)
        return phases
