# cython: cdivision=True
"""Loops of convolutions by bfloat16 pieces: blocking, packed weights, the check of magnitudes; see correlate.h."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from ...engine.correlation cimport ALL_IS_SPOILED, DONE, BoundProblem, CompiledCorrelation, Kernel, operands_t, packed_memory
from ...engine.runtime cimport isa_level, run_job
from .blocks cimport HEADER_BYTES, SplitBlocks
from ...engine.workspace cimport aligned
from .job cimport (
    kernels_at,
    kernels_t,
    round_up,
    split_channel_panels,
    split_items,
    split_job_t,
    split_lines_bytes,
    split_pack_items,
    split_panels,
    split_passes,
    split_phase_t,
    split_totals_bytes,
)


cdef const kernels_t *_emulated = NULL


cdef const kernels_t *kernels() noexcept:
    """The kernels of the ISA level in use; NULL: it has none."""
    return _emulated if _emulated != NULL else kernels_at(isa_level(), 0)


def use_kernels_at(size_t address) -> None:
    """Take the kernels of the table at ``address``, which has to stay there.

    For tests of a level that this machine does not run, compiled with its instructions in software.
    """
    global _emulated
    _emulated = <const kernels_t *>address


def is_available() -> bool:
    """Whether the ISA level in use multiplies bfloat16."""
    return kernels() != NULL


def rate() -> float:
    """Multiply-adds of bfloat16 a second over those of float32, at the level in use."""
    return kernels().rate if kernels() != NULL else 0.0


def source_bytes() -> int:
    """Bytes of an item's converted source, which stays in the second-level cache, at the level in use."""
    return kernels().source_bytes if kernels() != NULL else 1


def sum_roundoffs() -> float:
    """Error of a sum of n products in roundoffs of float32, over the square root of n, at the level in use."""
    return kernels().sum_roundoffs if kernels() != NULL else 1.0


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


cdef class SplitKernel(Kernel):
    """The correlation of a problem; computes nothing where magnitudes are out of range."""

    cdef SplitBlocks plain, merged
    cdef bint is_gradient
    cdef const kernels_t *kernels
    cdef readonly int64_t shared_bytes, thread_bytes

    def __cinit__(self, problem, params):
        self.correlation = CompiledCorrelation(problem)
        self.kernels = kernels()
        if self.kernels == NULL:
            raise RuntimeError("the ISA level in use does not multiply bfloat16")
        self.is_gradient = problem.direction == "backward_weight"
        self.plain = SplitBlocks(problem, params, False, self.kernels.tile_lines)
        self.merged = SplitBlocks(problem, params, True, self.kernels.tile_lines)
        self.shared_bytes = round_up(max(self.plain.shared_bytes, self.merged.shared_bytes), 64)
        self.thread_bytes = round_up(max(self.plain.thread_bytes, self.merged.thread_bytes), 64)

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef SplitBlocks blocks = self.merged if self.merged.fits(operands) else self.plain
        cdef split_job_t job = blocks.job
        cdef split_phase_t *phases
        cdef uint32_t largest[2]
        cdef Py_buffer view
        cdef char *weights = workspace
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        if packed is not None:
            weights = packed_memory(packed, self.shared_bytes, &view)
        phases = blocks.bind(operands, weights + HEADER_BYTES)
        job.phases, job.largest = phases, largest
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
            PyMem_Free(phases)
            if packed is not None:
                PyBuffer_Release(&view)
        return DONE if _is_in_range(largest) else ALL_IS_SPOILED

    cdef int _weight_gradient(self, split_job_t *job, char *workspace, int threads) except -1:
        """Pass by pass: its operands, then their products, added to the totals."""
        cdef int64_t number, groups = self.correlation.problem.groups
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
        return run_job(self.kernels.gradient_store, job, self.correlation.problem.out_channels, 0, NULL, threads)

    cdef int _pack(self, const split_job_t *job, int threads) except -1:
        return run_job(self.kernels.pack_weight, job, split_pack_items(job), 0, NULL, threads)

    def pack(self, operands, int threads):
        """The weights of all phases, after the largest magnitude of them."""
        cdef BoundProblem bound = BoundProblem(self.correlation.problem, operands)
        cdef split_job_t job = self.plain.job
        cdef split_phase_t *phases
        cdef uint32_t largest[2]
        cdef Py_buffer view
        packed = aligned(self.shared_bytes)
        PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
        phases = NULL
        largest[0] = largest[1] = 0
        try:
            phases = self.plain.bind(&bound.operands, <char *>view.buf + HEADER_BYTES)
            job.phases, job.largest = phases, largest
            self._pack(&job, threads)
            (<uint32_t *>view.buf)[0] = largest[1]
        finally:
            PyMem_Free(phases)
            PyBuffer_Release(&view)
        packed.flags.writeable = False
        return packed
