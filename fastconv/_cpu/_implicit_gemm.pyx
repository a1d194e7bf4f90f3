# cython: cdivision=True
"""Loops of the implicit GEMM: blocking, packed weights, one pass per correlation. Arithmetic: csrc/implicit_gemm.h."""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from ._bound cimport BoundProblem
from ._runtime cimport kernels_for, real_kernels_t, run_items
from .correlation cimport correlation_t, epilogue_t


cdef extern from "gemm_job.h" nogil:
    ctypedef struct gemm_job_t:
        correlation_t correlation
        epilogue_t epilogue
        int64_t depth, span, splits, pass_first, pass_pixels
        bint pixels_are_columns, source_channel_lines, gradient_channel_lines
        char *packed
        char *partial

    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t tap_count(const correlation_t *c)
    int64_t pixel_count(const correlation_t *c)
    int64_t packed_weight_size(const gemm_job_t *job, int64_t tile_columns)
    int64_t gemm_pack_items(const gemm_job_t *job, int64_t tile_rows, int64_t tile_columns)
    int64_t gemm_correlate_items(const gemm_job_t *job)
    int64_t gemm_split_pixels(const gemm_job_t *job)
    int64_t gemm_weight_items(const gemm_job_t *job)
    int64_t gemm_scratch_bytes(int64_t depth, int64_t span, int64_t rows, int64_t tile_rows, int64_t tile_columns,
                               int64_t lanes, int64_t element_bytes)


# Arithmetic of one item of one pass over a weight gradient: KeyboardInterrupt waits for the items begun.
cdef int64_t PASS_MULTIPLY_ADDS = 2**27


def scratch_bytes(str dtype, int64_t depth, int64_t span, int64_t rows):
    """Bytes of one thread's scratch memory."""
    cdef const real_kernels_t *kernels = kernels_for(dtype)
    return gemm_scratch_bytes(depth, span, rows, kernels.tile_rows, kernels.tile_columns, kernels.lanes,
                              4 if dtype == "float32" else 8)


cdef void _merge_axes(correlation_t *c, epilogue_t *e):
    """Make one long axis of axes that are read and written whole and without taps, as in 1x1 convolutions."""
    cdef int axis
    for axis in range(1, -1, -1):
        if axis == 0 and c.pixels[1] != 1:
            return
        if c.taps[axis] != 1 or c.taps[2] != 1 or c.step[axis] != 1 or c.step[2] != 1:
            return
        if c.first[axis] != 0 or c.first[2] != 0 or c.pixels[2] != c.source_size[2]:
            return
        if c.pixels[axis] != c.source_size[axis]:
            return
        if c.source_stride[2 + axis] != c.source_stride[4] * c.pixels[2]:
            return
        if c.result_stride[2 + axis] != c.result_stride[4] * c.pixels[2]:
            return
        if e.add != NULL and e.add_stride[2 + axis] != e.add_stride[4] * c.pixels[2]:
            return
        c.pixels[2] *= c.pixels[axis]
        c.source_size[2] = c.pixels[2]
        c.pixels[axis] = 1
        c.source_size[axis] = 1


cdef int64_t _balanced(int64_t total, int64_t most, int64_t multiple):
    """The block size at most ``most`` (rounded up to ``multiple``) that cuts ``total`` most evenly."""
    if total <= 0:
        return multiple
    return round_up(div_up(total, div_up(total, most)), multiple)


cdef class _Job:
    """One correlation of a bound problem with its blocking and its place in the packed weights."""

    cdef gemm_job_t job
    cdef const real_kernels_t *kernels
    cdef int64_t packed_bytes

    def __cinit__(self, BoundProblem bound, int64_t index, params):
        cdef gemm_job_t *job = &self.job
        cdef correlation_t *c = &job.correlation
        problem = bound.problem
        self.kernels = kernels_for(problem.dtype)
        job.correlation = bound.correlation(index, &job.epilogue)
        _merge_axes(c, &job.epilogue)
        channels_last = problem.layout == "channels_last"
        job.pixels_are_columns = not (channels_last and c.filters >= self.kernels.lanes)
        job.source_channel_lines = channels_last and c.channels >= 4
        job.gradient_channel_lines = channels_last and c.filters >= 4
        job.splits = params["splits"]
        if problem.direction == "backward_weight":
            job.depth = params["depth"]
            job.span = _balanced(c.channels * tap_count(c), params["span"], self.kernels.tile_columns)
            job.pass_pixels = round_up(div_up(PASS_MULTIPLY_ADDS, max(job.span * c.filters, 1)), job.depth)
        else:
            job.depth = _balanced(c.channels * tap_count(c), params["depth"], 1)
            job.span = _balanced(pixel_count(c), params["span"], self.kernels.tile_columns)
        self.packed_bytes = round_up(
            c.groups * packed_weight_size(job, self.kernels.tile_columns) * bound.itemsize, 64)

    cdef pack(self, char *packed, int threads):
        self.job.packed = packed
        run_items(self.kernels.gemm_pack_weight, &self.job,
                  gemm_pack_items(&self.job, self.kernels.tile_rows, self.kernels.tile_columns), 0, None, 0, threads)


def correlate(problem, params, operands, resources, packed, int64_t packed_bytes, int64_t thread_bytes):
    """forward or backward_input. ``packed``: what ``pack`` returned, or None: pack into the workspace."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef Py_buffer view
    cdef int64_t index, offset = 0
    cdef char *weights
    cdef _Job job
    PyObject_GetBuffer(resources.workspace if packed is None else packed, &view,
                       PyBUF_WRITABLE if packed is None else PyBUF_SIMPLE)
    try:
        for index in range(bound.correlation_count()):
            job = _Job(bound, index, params)
            weights = <char *>view.buf + offset
            if offset + job.packed_bytes > (packed_bytes if packed is None else view.len):
                raise MemoryError("workspace smaller than the algorithm asked for")
            if packed is None:
                job.pack(weights, resources.threads)
            else:
                job.job.packed = weights
                offset += job.packed_bytes
            run_items(job.kernels.gemm_correlate, &job.job, gemm_correlate_items(&job.job), thread_bytes,
                      resources.workspace, 0 if packed is not None else packed_bytes, resources.threads)
    finally:
        PyBuffer_Release(&view)


def packed_sizes(problem, params, operands):
    """Bytes of the packed weights of each correlation of the problem."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef int64_t index
    cdef _Job job
    sizes = []
    for index in range(bound.correlation_count()):
        job = _Job(bound, index, params)
        sizes.append(job.packed_bytes)
    return sizes


def pack(problem, params, operands, int threads):
    """The weights of all correlations of the problem, packed one after the other."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef Py_buffer view
    cdef int64_t index, offset = 0
    cdef _Job job
    packed = np.empty(sum(packed_sizes(problem, params, operands)), np.uint8)
    PyObject_GetBuffer(packed, &view, PyBUF_WRITABLE)
    try:
        for index in range(bound.correlation_count()):
            job = _Job(bound, index, params)
            job.pack(<char *>view.buf + offset, threads)
            offset += job.packed_bytes
    finally:
        PyBuffer_Release(&view)
    packed.flags.writeable = False
    return packed


def weight_gradient(problem, params, operands, resources, int64_t partial_bytes, int64_t thread_bytes):
    """backward_weight: partial sums of each split into the workspace, then their sum into the weight."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef _Job job = _Job(bound, 0, params)
    cdef Py_buffer view
    cdef int64_t filters = job.job.correlation.groups * job.job.correlation.filters
    cdef int64_t columns = job.job.correlation.channels * tap_count(&job.job.correlation)
    if job.job.splits * filters * columns * bound.itemsize > partial_bytes:
        raise MemoryError("workspace smaller than the algorithm asked for")
    PyObject_GetBuffer(resources.workspace, &view, PyBUF_WRITABLE)
    try:
        job.job.partial = <char *>view.buf
        for first in range(0, max(gemm_split_pixels(&job.job), 1), job.job.pass_pixels):
            job.job.pass_first = first
            run_items(job.kernels.gemm_weight_gradient, &job.job, gemm_weight_items(&job.job), thread_bytes,
                      resources.workspace, partial_bytes, resources.threads)
        run_items(job.kernels.gemm_weight_reduce, &job.job, filters, 0, None, 0, resources.threads)
    finally:
        PyBuffer_Release(&view)
