# cython: cdivision=True
"""Binds sets of elements to the kernels of normalization.h, whole arrays to those of activations.h, and loops over their
items."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.string cimport memset

from ..engine.kernel_types cimport activation_t, item_fn
from ..engine.runtime cimport isa_level, real_type, run_job


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        item_fn normalize, normalize_gradient, activate, activate_gradient

    const kernels_t *kernels_at(int64_t level, int64_t type)

    ctypedef struct sets_t:
        char *data
        int64_t set_stride, row_stride

    enum:
        SUMS_OF_SETS
        SUMS_OF_ROWS
        SUMS_OF_ELEMENTS

    ctypedef struct normalization_t:
        int64_t sets, rows, count, sets_per_item
        sets_t x, add, dy, result
        char *mean
        char *variance
        const char *weight
        const char *bias
        int64_t affine_period, affine_set_step, affine_row_step, affine_is_vector, measures, sums_of
        double *bias_sums
        double *weight_sums
        double eps, slope
        activation_t activation

    ctypedef struct activation_job_t:
        int64_t count
        const char *x
        const char *add
        const char *dy
        char *result
        double slope
        activation_t activation

    int64_t normalization_items(const normalization_t *job)
    int64_t activation_items(const activation_job_t *job)


_ACTIVATIONS = (None, "relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")
"""In the order of activation_t in correlation.h."""

cdef int64_t ITEM_ELEMENTS = 16384


cdef class _Pinned:
    """The memory of arrays, held for as long as this lives."""

    cdef Py_buffer buffers[10]
    cdef int count

    def __cinit__(self):
        self.count = 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.buffers[i])

    cdef Py_buffer *pin(self, object array, bint writable) except NULL:
        cdef Py_buffer *buffer = &self.buffers[self.count]
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
        self.count += 1
        return buffer

    cdef char *first(self, object array, bint writable) except? NULL:
        """The first element; NULL for None."""
        return NULL if array is None else <char *>self.pin(array, writable).buf

    cdef int sets(self, sets_t *sets, object array, bint writable) except -1:
        """An array of (sets, rows, neighbours), or None."""
        cdef Py_buffer *buffer
        if array is None:
            return 0
        buffer = self.pin(array, writable)
        sets.data = <char *>buffer.buf
        sets.set_stride = buffer.strides[0] // buffer.itemsize
        sets.row_stride = buffer.strides[1] // buffer.itemsize
        return 0


cdef int64_t _sets_per_item(const normalization_t *job) noexcept:
    return max(<int64_t>1, ITEM_ELEMENTS // max(<int64_t>1, job.rows * job.count))


cdef int _describe(normalization_t *job, _Pinned pinned, x, mean, variance, affine, eps, activation, slope,
                   bint measures) except -1:
    memset(job, 0, sizeof(job[0]))
    pinned.sets(&job.x, x, False)
    job.sets, job.rows, job.count = x.shape
    job.mean, job.variance = pinned.first(mean, measures), pinned.first(variance, measures)
    weight, bias, job.affine_period, job.affine_set_step, job.affine_row_step, job.affine_is_vector = affine
    job.weight, job.bias = pinned.first(weight, False), pinned.first(bias, False)
    job.eps, job.slope, job.measures = eps, slope, measures
    job.activation = <activation_t><int>_ACTIVATIONS.index(activation)
    job.sets_per_item = _sets_per_item(job)
    return 0


def normalize(x, mean, variance, affine, double eps, activation, double slope, bint measures, add, result,
              int threads):
    """result = activation((x - mean) / sqrt(variance + eps) * weight + bias + add), for x of (sets, rows, neighbours).

    ``affine``: weight, bias, and where they are (job.h): period, step from set to set and row to row, whether every
    element of a row has its own. All arrays are native and of one dtype. Where it ``measures``, mean and variance are
    written.
    """
    cdef normalization_t job
    cdef _Pinned pinned = _Pinned()
    if not x.size:
        return
    _describe(&job, pinned, x, mean, variance, affine, eps, activation, slope, measures)
    pinned.sets(&job.add, add, False)
    pinned.sets(&job.result, result, True)
    run_job(kernels_at(isa_level(), real_type(x.dtype.name)).normalize, &job, normalization_items(&job), 0, NULL,
            threads)


def normalize_gradient(dy, x, mean, variance, affine, double eps, activation, double slope, bint measures, dx,
                       int threads):
    """The gradients of ``normalize`` without ``add`` for bias and weight, in double precision, an array of (2, ...);
    that for x is written to ``dx``, unless that is None.

    A gradient is summed over rows where all rows of a set have one weight: (2, sets); else (2, sets, rows), or where
    every element has its own (2, items, elements).
    """
    cdef normalization_t job
    cdef _Pinned pinned = _Pinned()
    cdef char *sums_at
    _describe(&job, pinned, x, mean, variance, affine, eps, activation, slope, measures)
    if job.affine_is_vector:
        job.sums_of = SUMS_OF_ELEMENTS
        sums = np.zeros((2, normalization_items(&job), job.count))
    elif job.affine_row_step:
        job.sums_of = SUMS_OF_ROWS
        sums = np.zeros((2, job.sets, job.rows))
    else:
        job.sums_of = SUMS_OF_SETS
        sums = np.zeros((2, job.sets))
    if not x.size:
        return sums
    pinned.sets(&job.dy, dy, False)
    pinned.sets(&job.result, dx, True)
    job.bias_sums = <double *>pinned.first(sums[0], True)
    job.weight_sums = <double *>pinned.first(sums[1], True)
    run_job(kernels_at(isa_level(), real_type(x.dtype.name)).normalize_gradient, &job, normalization_items(&job), 0,
            NULL, threads)
    return sums


def activate(x, add, activation, double slope, result, int threads):
    """result = activation(x + add), all flat, native and of one dtype."""
    _activate(x, add, None, activation, slope, result, threads)


def activate_gradient(dy, x, activation, double slope, result, int threads):
    """result = dy times the activation's slope at x, all flat, native and of one dtype."""
    _activate(x, None, dy, activation, slope, result, threads)


cdef _activate(x, add, dy, activation, double slope, result, int threads):
    cdef activation_job_t job
    cdef _Pinned pinned = _Pinned()
    cdef const kernels_t *kernels = kernels_at(isa_level(), real_type(x.dtype.name))
    job.count = x.size
    job.x, job.add, job.dy = pinned.first(x, False), pinned.first(add, False), pinned.first(dy, False)
    job.result = pinned.first(result, True)
    job.slope, job.activation = slope, <activation_t><int>_ACTIVATIONS.index(activation)
    run_job(kernels.activate if dy is None else kernels.activate_gradient, &job, activation_items(&job), 0, NULL,
            threads)
