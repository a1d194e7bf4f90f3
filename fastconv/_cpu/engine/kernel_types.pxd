"""C declarations of csrc/correlation.h."""

from libc.stdint cimport int64_t


cdef extern from "correlation.h" nogil:
    ctypedef struct correlation_t:
        int64_t batch, groups, channels, filters
        int64_t pixels[3]
        int64_t taps[3]
        int64_t source_size[3]
        int64_t step[3]
        int64_t first[3]
        int64_t delta[3]
        char *source
        char *weight
        char *result
        int64_t source_stride[5]
        int64_t result_stride[5]
        int64_t weight_stride[5]
        int64_t weight_group_stride

    ctypedef enum activation_t:
        ACTIVATION_NONE

    ctypedef struct epilogue_t:
        char *bias
        char *add
        int64_t add_stride[5]
        double slope
        activation_t activation

    int64_t tap_count(const correlation_t *c)

    ctypedef void (*item_fn)(const void *job, int64_t item, void *scratch) noexcept nogil
