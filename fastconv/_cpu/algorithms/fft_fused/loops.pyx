# cython: cdivision=True
"""Loops over the items of fft_fused.h and weight.h."""

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport int64_t
from libc.math cimport log2
from libc.string cimport memmove, memset

from ...engine.correlation cimport ALL_IS_SPOILED, DONE, IMAGES_ARE_SPOILED, BoundProblem, CompiledCorrelation, Kernel, operands_t
from ...engine.correlation cimport packed_memory, point_forward
from ...engine.runtime cimport isa_level, real_type, run_job
from ...engine.workspace cimport address, aligned
from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn


cdef enum:
    MAX_TILES = 16  # are put in order
    STEPS_BETWEEN = 7  # transposes and loads of a transform, in halvings
    LONG_WIDTH = 2  # a signal is cut into tiles of at most so many times their height ...
    LONG_HEIGHT = 4  # ... and their width


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn pack, correlate, gradient, reduce

    const kernels_t *kernels_at(int64_t level, int64_t type)

    const int TRANSFORM_STAGES
    const int FFT_FUSED_COPIES

    ctypedef struct transform_t:
        int64_t size, stages
        int64_t radix[TRANSFORM_STAGES]
        int64_t part[TRANSFORM_STAGES]
        int64_t first_twiddle[TRANSFORM_STAGES]
        const char *twiddles

    ctypedef struct fft_fused_job_t:
        correlation_t correlation
        epilogue_t epilogue
        transform_t down, across
        const char *long_twiddles
        int64_t results[2]
        int64_t tiles[2]
        int64_t partials, round_first, round_pairs
        char *spectra
        unsigned char *spoiled

    int64_t fft_fused_kernels(const fft_fused_job_t *job)
    int64_t fft_fused_items(const fft_fused_job_t *job)
    int64_t fft_fused_gradient_items(const fft_fused_job_t *job)


COPIED_ROWS = FFT_FUSED_COPIES
"""Rows that a thread may copy at a time."""


def cheapest_tiles(tuple sizes, bint is_signal, tuple reach, tuple pixels, int64_t batch, int64_t channels,
                   int64_t filters, int64_t most_points, int64_t kept):
    """At most ``kept`` (height, width) of tiles with both of ``sizes``, those of the least arithmetic first.

    About 1 multiply-add for every halving of a point and step between stages, and 4 for every product of spectra.
    """
    cdef double work[MAX_TILES]
    cdef double halvings, own
    cdef int64_t height, width, points, pairs, place, tiles, found = 0
    cdef int64_t below = reach[0], behind = reach[1], rows = pixels[0], columns = pixels[1]
    cdef list chosen = []
    if kept > MAX_TILES:
        raise ValueError(f"kept: got {kept}; allowed: up to {MAX_TILES}")
    for height in sizes:
        for width in sizes:
            points = height * width
            if points > most_points:
                break
            if is_signal:
                if points <= behind or width > LONG_WIDTH * height or height > LONG_HEIGHT * width:
                    continue
                tiles = _parts(columns, points - behind)
            else:
                if height <= below or width <= behind:
                    continue
                tiles = _parts(rows, height - below) * _parts(columns, width - behind)
            pairs, halvings = batch * _parts(tiles, 2), log2(<double>points) + STEPS_BETWEEN
            own = points * (pairs * ((channels + filters) * halvings + 4.0 * channels * filters)
                            + channels * filters * halvings)
            place = found
            while place > 0 and own < work[place - 1]:
                place -= 1
            if place == kept:
                continue
            chosen.insert(place, (height, width))
            if found == kept:
                chosen.pop()
            else:
                found += 1
            memmove(&work[place + 1], &work[place], (found - 1 - place) * sizeof(double))
            work[place] = own
    return chosen


cdef int64_t _parts(int64_t size, int64_t part) noexcept:
    return (size + part - 1) // part


cdef void _set_transform(transform_t *t, made, const char *twiddles):
    cdef int i
    cdef int64_t part = made.size, twiddle = 0
    t.size, t.stages, t.twiddles = made.size, len(made.radices), twiddles
    for i in range(t.stages):
        t.radix[i] = made.radices[i]
        part //= t.radix[i]
        t.part[i], t.first_twiddle[i] = part, twiddle
        twiddle += 2 * (t.radix[i] - 1) * part


cdef class FftFusedKernel(Kernel):
    """The correlation of a problem with its blocking. Marks images whose results are not finite.

    Of the workspace ``shared_bytes`` are for spectra of kernels that are not packed, or for sums of a weight gradient;
    ``thread_bytes`` follow for every thread.
    """

    cdef fft_fused_job_t job
    cdef readonly object blocking
    cdef int64_t shared_bytes, thread_bytes
    cdef const kernels_t *kernels
    cdef list pinned

    def __cinit__(self, problem, blocking):
        self.correlation, self.blocking = CompiledCorrelation(problem), blocking
        self.kernels = kernels_at(isa_level(), real_type(problem.dtype))
        self.shared_bytes, self.thread_bytes = blocking.shared_bytes, blocking.thread_bytes
        memset(&self.job, 0, sizeof(fft_fused_job_t))
        self.pinned = []
        _set_transform(&self.job.down, blocking.down, self._memory(blocking.down.twiddles))
        _set_transform(&self.job.across, blocking.across, self._memory(blocking.across.twiddles))
        self.job.long_twiddles = NULL if blocking.long_twiddles is None else self._memory(blocking.long_twiddles)
        self.job.results = blocking.results
        self.job.tiles = blocking.tiles
        self.job.partials, self.job.round_pairs = blocking.partials, blocking.round_pairs

    cdef const char *_memory(self, array) except? NULL:
        """The memory of an array that is kept as long as this kernel."""
        self.pinned.append(array)
        return <const char *>address(array)

    def pack(self, operands, int threads):
        """The spectra of the weights; the data arrays are not read."""
        cdef BoundProblem bound = BoundProblem(self.correlation.problem, operands)
        packed, scratch = aligned(self.shared_bytes), aligned(self.thread_bytes * threads)
        cdef fft_fused_job_t job = self._job(&bound.operands)
        job.spectra = <char *>address(packed)
        run_job(self.kernels.pack, &job, fft_fused_kernels(&job), self.thread_bytes,
                <char *>address(scratch), threads)
        packed.flags.writeable = False
        return packed

    cdef fft_fused_job_t _job(self, const operands_t *operands):
        cdef fft_fused_job_t job = self.job
        job.correlation = self.correlation.phase(operands, 0, &job.epilogue)
        point_forward(&job.correlation, operands.itemsize)
        return job

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        cdef fft_fused_job_t job = self._job(operands)
        cdef int64_t n
        cdef Py_buffer view
        cdef char *scratch = workspace + self.shared_bytes
        if self.shared_bytes + self.thread_bytes * threads > workspace_bytes:
            raise MemoryError("workspace smaller than the algorithm asked for")
        job.spoiled, job.spectra = marks, workspace
        if self.blocking.is_gradient:
            for job.round_first in range(0, self.blocking.pairs_of_part, job.round_pairs):
                run_job(self.kernels.gradient, &job, fft_fused_gradient_items(&job), self.thread_bytes, scratch,
                        threads)
            run_job(self.kernels.reduce, &job, fft_fused_kernels(&job), self.thread_bytes, scratch, threads)
            return ALL_IS_SPOILED if marks[0] else DONE
        if packed is None:
            run_job(self.kernels.pack, &job, fft_fused_kernels(&job), self.thread_bytes, scratch, threads)
        else:
            job.spectra = packed_memory(packed, self.shared_bytes, &view)
        try:
            run_job(self.kernels.correlate, &job, fft_fused_items(&job), self.thread_bytes, scratch, threads)
        finally:
            if packed is not None:
                PyBuffer_Release(&view)
        for n in range(job.correlation.batch):
            if marks[n]:
                return IMAGES_ARE_SPOILED
        return DONE
