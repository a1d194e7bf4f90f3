# cython: cdivision=True
"""Loops of convolutions by bfloat16 pieces: blocking, packed weights, the check of magnitudes. Arithmetic: csrc/split_*.h."""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset

from ._bound cimport BoundProblem, Correlations, Kernel, merge_axes, operands_t, point_forward
from ._runtime cimport run_job, split_kernels, split_kernels_t
from .correlation cimport correlation_t, epilogue_t


cdef extern from "split_job.h" nogil:
    enum:
        LINE_CHANNELS
        PANEL_FILTERS

    ctypedef enum element_t:
        ELEMENT_FLOAT32

    ctypedef struct split_axis_t:
        int64_t step, delta, origin, phases, reach, shared

    ctypedef struct split_sum_t:
        correlation_t correlation
        epilogue_t epilogue
        const int64_t *tap_lines
        char *packed

    ctypedef struct split_job_t:
        const split_sum_t *sums
        int64_t sum_count
        element_t element
        int64_t element_bytes, pieces, products
        split_axis_t axis[3]
        int64_t pixels[3]
        int64_t block[3]
        int64_t images, image_sets, chunk, block_filters
        uint32_t *largest
        bint is_paired
        int64_t part_pixels[2]
        int64_t pass_ "pass"
        char *lines
        char *gradient
        float *totals

    ctypedef struct split_tiling_t:
        int64_t set_tiles

    ctypedef struct split_scratch_t:
        int64_t bytes

    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t greatest_common_divisor(int64_t a, int64_t b)
    int64_t split_taps(const correlation_t *c)
    int64_t split_slots(const split_job_t *job, int axis)
    int64_t split_phase_lines(const split_job_t *job)
    int64_t split_channel_blocks(const split_job_t *job)
    int64_t split_panels(const split_job_t *job)
    int64_t split_packed_bytes(const split_job_t *job, const correlation_t *c)
    int64_t split_images(const split_job_t *job)
    int64_t split_passes(const split_job_t *job)
    int64_t split_channel_panels(const split_job_t *job)
    int64_t split_totals_bytes(const split_job_t *job)
    int64_t split_lines_bytes(const split_job_t *job)
    int64_t split_gradients_bytes(const split_job_t *job)
    int64_t split_gradient_scratch_bytes(const split_job_t *job)
    int64_t split_items(const split_job_t *job)
    int64_t split_pack_items(const split_job_t *job)
    split_tiling_t split_tiling(const split_job_t *job, const int64_t *pixels, int64_t tile_lines)
    split_scratch_t split_scratch(const split_job_t *job, int64_t tile_lines)


ELEMENTS = {"float32": 0, "bfloat16": 1, "float16": 2}
"""As in csrc/split_job.h."""

cdef enum:
    HEADER_BYTES = 64  # before packed weights: the bits of their largest magnitude

# Sums of one item, and panels times taps that a block of the source is worth converting for.
cdef int64_t MOST_LINES = 1024
cdef int64_t LEAST_PRODUCTS = 32
# Of one tile of a weight gradient, and of one pass: more would add up more roundings.
cdef int64_t GRADIENT_LINES = 16
cdef int64_t LEAST_PASS_LINES = 128
cdef int64_t MOST_PASS_LINES = 2048
# Work items wanted, so that threads find work; never decided by their number.
cdef int64_t LEAST_ITEMS = 8


def is_available() -> bool:
    """Whether the ISA level in use multiplies bfloat16."""
    return split_kernels() != NULL


def rate() -> float:
    """Multiply-adds of bfloat16 a second over those of float32, at the level in use."""
    cdef const split_kernels_t *kernels = split_kernels()
    return kernels.rate if kernels != NULL else 0.0


def sum_roundoffs() -> float:
    """Error of a sum of n products in roundoffs of float32, over the square root of n, at the level in use."""
    cdef const split_kernels_t *kernels = split_kernels()
    return kernels.sum_roundoffs if kernels != NULL else 1.0


cdef float _value(uint32_t bits) noexcept:
    cdef float value
    memcpy(&value, &bits, 4)
    return value


cdef bint _is_in_range(const uint32_t *largest) noexcept:
    """Whether pieces of numbers up to these magnitudes, and their products, lose no more than 2^-46 of the largest
    product to underflow, and do not overflow where the definition does not. False for NaN and infinities."""
    cdef float source = _value(largest[0]), weight = _value(largest[1])
    if not (source < 2.0**62 and weight < 2.0**62):
        return False
    if source == 0 or weight == 0:
        return True
    return source > 2.0**-60 and weight > 2.0**-60 and 2.0**-80 < source * weight < 2.0**100


cdef class _Blocks:
    """The sums of a problem cut into items, for arrays whose axes are merged or not; ``tap_lines`` of all sums."""

    cdef split_job_t job
    cdef split_sum_t *sums
    cdef int64_t *tap_lines
    cdef int64_t shared_bytes, thread_bytes
    cdef bint is_merged

    def __dealloc__(self):
        PyMem_Free(self.sums)
        PyMem_Free(self.tap_lines)

    @staticmethod
    cdef _Blocks of(SplitKernel kernel, params, bint is_merged):
        cdef _Blocks self = _Blocks()
        cdef split_job_t *job = &self.job
        cdef operands_t none
        cdef int64_t index, taps = 0
        memset(&none, 0, sizeof(none))
        memset(job, 0, sizeof(split_job_t))
        self.is_merged = is_merged
        job.sum_count = kernel.sums.count
        self.sums = <split_sum_t *>PyMem_Calloc(job.sum_count, sizeof(split_sum_t))
        if self.sums == NULL:
            raise MemoryError
        job.sums = self.sums
        job.element = <element_t>kernel.element
        job.element_bytes = kernel.element_bytes
        job.products = params["products"]
        job.pieces = 1 if job.products == 1 else 2 if job.products == 3 else 3
        for index in range(job.sum_count):
            kernel._set_sum(&none, index, is_merged, &self.sums[index])
            taps += split_taps(&self.sums[index].correlation)
        job.is_paired = kernel.is_gradient
        self._set_axes()
        self._set_shared()
        if kernel.is_gradient:
            self._set_halves()
            self._set_pass(params["bytes"])
        else:
            self._set_items(kernel.kernels.tile_lines, params["bytes"])
        if job.block[2] < job.pixels[2]:
            job.axis[2].shared = 0
        self.tap_lines = <int64_t *>PyMem_Calloc(max(taps, 1), sizeof(int64_t))
        if self.tap_lines == NULL:
            raise MemoryError
        self._set_tap_lines()
        if kernel.is_gradient:
            self.shared_bytes = split_totals_bytes(job) + split_lines_bytes(job) + split_gradients_bytes(job)
            self.thread_bytes = split_gradient_scratch_bytes(job)
            return self
        self.shared_bytes = HEADER_BYTES
        for index in range(job.sum_count):
            self.shared_bytes += split_packed_bytes(job, &self.sums[index].correlation)
        self.thread_bytes = split_scratch(job, kernel.kernels.tile_lines).bytes
        return self

    cdef _set_axes(self):
        """What the taps of all sums read, from the first pixel on."""
        cdef split_job_t *job = &self.job
        cdef split_axis_t *axis
        cdef correlation_t *c
        cdef int64_t index, period
        cdef int a
        for a in range(3):
            axis = &job.axis[a]
            c = &self.sums[0].correlation
            axis.step, axis.delta, axis.origin = c.step[a], c.delta[a], c.first[a]
            for index in range(job.sum_count):
                c = &self.sums[index].correlation
                job.pixels[a] = max(job.pixels[a], c.pixels[a])
                if c.taps[a] > 0:
                    axis.origin = min(axis.origin, c.first[a])
            period = axis.step // greatest_common_divisor(axis.step, axis.delta)
            axis.phases = max(min(period, c.taps[a]), 1)
            for index in range(job.sum_count):
                c = &self.sums[index].correlation
                if c.taps[a] > 0:
                    axis.reach = max(axis.reach, (c.first[a] - axis.origin + (c.taps[a] - 1) * c.delta[a]) // axis.step)

    cdef _set_shared(self):
        """Zeros that rows share: as many as there are before the first pixel and after the last."""
        cdef split_axis_t *axis = &self.job.axis[2]
        cdef int64_t after = axis.origin + self.job.pixels[2] + axis.reach - self.sums[0].correlation.source_size[2]
        if axis.step == 1:
            axis.shared = max(min(-axis.origin, after), 0)

    cdef _set_halves(self):
        """An odd number of images: the pairs are the halves of each."""
        cdef split_job_t *job = &self.job
        cdef int axis
        if self.sums[0].correlation.batch % 2 == 0:
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
        if lines < MOST_LINES // 4:
            job.chunk = max(source_bytes // (MOST_LINES * job.pieces * 64), 1)
            lines = MOST_LINES
        self._cut(tile_lines, max(min(lines, MOST_LINES), 2 * tile_lines))
        panels = split_panels(job)
        job.block_filters = panels * PANEL_FILTERS
        items = split_items(job)
        if items < LEAST_ITEMS:
            most = max(LEAST_PRODUCTS // max(split_taps(&self.sums[0].correlation), 1), 1)
            job.block_filters = max(panels // div_up(LEAST_ITEMS, items), min(most, panels)) * PANEL_FILTERS

    cdef _set_pass(self, int64_t operand_bytes):
        """Passes whose converted operands take about ``operand_bytes``."""
        cdef split_job_t *job = &self.job
        cdef int64_t blocks = 2 * (split_channel_panels(job) + split_panels(job))
        job.chunk, job.block_filters = split_channel_blocks(job), split_panels(job) * PANEL_FILTERS
        blocks *= self.sums[0].correlation.groups
        blocks = operand_bytes // (blocks * job.pieces * 64)
        self._cut(GRADIENT_LINES, min(max(blocks, LEAST_PASS_LINES), MOST_PASS_LINES))

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
        """Images interleaved so that their tiles hold as few lines that are no pixels as possible."""
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
        for index in range(job.sum_count):
            c = &self.sums[index].correlation
            self.sums[index].tap_lines = self.tap_lines + count
            for tap in range(split_taps(c)):
                t[2], rest = tap % c.taps[2], tap // c.taps[2]
                t[1], t[0] = rest % c.taps[1], rest // c.taps[1]
                phase = slot = 0
                for a in range(3):
                    axis = &job.axis[a]
                    at = c.first[a] - axis.origin + t[a] * c.delta[a]
                    phase = phase * axis.phases + t[a] % axis.phases
                    slot = slot * split_slots(job, a) + at // axis.step
                self.tap_lines[count + tap] = phase * split_phase_lines(job) + slot * job.images
            count += split_taps(c)


cdef class SplitKernel(Kernel):
    """The sums of a problem; refuses where magnitudes are out of range."""

    cdef _Blocks plain, merged
    cdef int element, element_bytes
    cdef bint is_gradient
    cdef const split_kernels_t *kernels
    cdef readonly int64_t shared_bytes, thread_bytes

    def __cinit__(self, problem, params):
        self.sums, self.may_refuse = Correlations(problem), True
        self.kernels = split_kernels()
        self.element = ELEMENTS[problem.dtype]
        self.element_bytes = 4 if problem.dtype == "float32" else 2
        self.is_gradient = problem.direction == "backward_weight"
        self.plain = _Blocks.of(self, params, False)
        self.merged = _Blocks.of(self, params, True)
        self.shared_bytes = round_up(max(self.plain.shared_bytes, self.merged.shared_bytes), 64)
        self.thread_bytes = round_up(max(self.plain.thread_bytes, self.merged.thread_bytes), 64)

    cdef void _set_sum(self, const operands_t *operands, int64_t index, bint merges, split_sum_t *sum) noexcept:
        """The ``index``-th sum on ``operands``, its axes merged where they can be."""
        sum.correlation = self.sums.get(operands, index, &sum.epilogue)
        point_forward(&sum.correlation, self.element_bytes)
        if merges:
            merge_axes(&sum.correlation, &sum.epilogue)

    cdef split_sum_t *_bind(self, const operands_t *operands, _Blocks blocks, char *packed) except NULL:
        """The sums of ``blocks`` on ``operands``; to be freed."""
        cdef int64_t index
        cdef split_sum_t *sums = <split_sum_t *>PyMem_Calloc(self.sums.count, sizeof(split_sum_t))
        if sums == NULL:
            raise MemoryError
        for index in range(self.sums.count):
            self._set_sum(operands, index, blocks.is_merged, &sums[index])
            sums[index].tap_lines = blocks.sums[index].tap_lines
            sums[index].packed = packed
            packed += split_packed_bytes(&blocks.job, &sums[index].correlation)
        return sums

    cdef _Blocks _blocks_for(self, const operands_t *operands):
        """Those of merged axes where the arrays allow it."""
        cdef split_sum_t sum
        cdef correlation_t *c = &sum.correlation
        cdef int axis
        if self.sums.count > 1:
            return self.plain
        self._set_sum(operands, 0, True, &sum)
        for axis in range(3):
            if c.pixels[axis] != self.merged.sums[0].correlation.pixels[axis]:
                return self.plain
        return self.merged

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads) except -1:
        cdef _Blocks blocks = self._blocks_for(operands)
        cdef split_job_t job = blocks.job
        cdef split_sum_t *sums
        cdef uint32_t largest[2]
        cdef Py_buffer view
        cdef char *weights = workspace
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        if packed is not None:
            PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE)
            weights = <char *>view.buf
        sums = self._bind(operands, blocks, weights + HEADER_BYTES)
        job.sums, job.largest = sums, largest
        largest[0] = largest[1] = 0
        try:
            if self.is_gradient:
                self._weight_gradient(&job, workspace, threads)
            else:
                if packed is None:
                    self._pack(&job, threads)
                else:
                    largest[1] = (<const uint32_t *>weights)[0]
                run_job(self.kernels.correlate, &job, split_items(&job), self.thread_bytes,
                        workspace + self.shared_bytes, threads)
        finally:
            PyMem_Free(sums)
            if packed is not None:
                PyBuffer_Release(&view)
        return not _is_in_range(largest)

    cdef int _weight_gradient(self, split_job_t *job, char *workspace, int threads) except -1:
        """Pass by pass: its operands, then their products, added to the totals."""
        cdef int64_t number, groups = self.sums.problem.groups
        cdef int64_t channels = split_channel_panels(job), filters = split_panels(job)
        job.totals = <float *>workspace
        job.lines = workspace + split_totals_bytes(job)
        job.gradient = job.lines + split_lines_bytes(job)
        for number in range(split_passes(job)):
            job.pass_ = number
            run_job(self.kernels.gradient_convert, job, groups * 2 * (channels + filters), self.thread_bytes,
                    workspace + self.shared_bytes, threads)
            run_job(self.kernels.gradient_multiply, job, groups * channels * filters, self.thread_bytes,
                    workspace + self.shared_bytes, threads)
        return run_job(self.kernels.gradient_store, job, self.sums.problem.out_channels, 0, NULL, threads)

    cdef int _pack(self, const split_job_t *job, int threads) except -1:
        return run_job(self.kernels.pack_weight, job, split_pack_items(job), 0, NULL, threads)

    def pack(self, operands, int threads):
        """The weights of all sums, after the largest magnitude of them."""
        cdef BoundProblem bound = BoundProblem(self.sums.problem, operands)
        cdef split_job_t job = self.plain.job
        cdef split_sum_t *sums
        cdef uint32_t largest[2]
        cdef Py_buffer view
        packed = np.empty(self.shared_bytes + 64, np.uint8)
        packed = packed[-packed.ctypes.data % 64:][:self.shared_bytes]
        PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
        sums = NULL
        largest[0] = largest[1] = 0
        try:
            sums = self._bind(&bound.operands, self.plain, <char *>view.buf + HEADER_BYTES)
            job.sums, job.largest = sums, largest
            self._pack(&job, threads)
            (<uint32_t *>view.buf)[0] = largest[1]
        finally:
            PyMem_Free(sums)
            PyBuffer_Release(&view)
        packed.flags.writeable = False
        return packed
