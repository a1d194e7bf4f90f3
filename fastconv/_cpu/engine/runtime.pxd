from libc.stdint cimport int64_t

from .kernel_types cimport item_fn


cdef extern from "kernels.h" nogil:
    int64_t PEAK_STEPS

    ctypedef struct real_kernels_t:
        int64_t lanes, tile_rows, tile_columns
        item_fn multiply_add_peak
        item_fn gemm_pack_weight
        item_fn gemm_correlate
        item_fn gemm_weight_gradient
        item_fn gemm_weight_reduce
        item_fn direct_correlate
        item_fn direct_weight_gradient
        item_fn direct_weight_reduce
        item_fn narrow_pack
        item_fn narrow_correlate
        item_fn depthwise_pack
        item_fn depthwise_correlate
        item_fn depthwise_gradient
        item_fn depthwise_reduce
        item_fn grouped_pack
        item_fn grouped_correlate
        item_fn grouped_gradient
        item_fn grouped_reduce
        item_fn planes_correlate
        item_fn planes_weight_gradient
        item_fn planes_weight_reduce
        item_fn spectral_pack
        item_fn spectral_correlate
        item_fn spectral_gradient
        item_fn spectral_reduce
        item_fn winograd_pack_weight
        item_fn winograd_block
        item_fn winograd_source
        item_fn winograd_panel
        item_fn winograd_operand
        item_fn winograd_product
        item_fn winograd_split
        item_fn winograd_gradient
        item_fn channel_sums

    ctypedef struct pool_kernels_t:
        item_fn maximum, maximum_indices, average, average_gradient, maximum_gradient

    ctypedef struct split_kernels_t:
        int64_t tile_lines, source_bytes
        double rate, sum_roundoffs
        item_fn pack_weight, correlate, gradient_convert, gradient_multiply, gradient_store

    ctypedef struct kernels_t:
        const char *name
        const real_kernels_t *float32
        const real_kernels_t *float64
        const pool_kernels_t *pooling
        const split_kernels_t *split
        item_fn cast

    const kernels_t *kernels_select(const char *max_isa)
    const char *kernels_level_name(int64_t level)
    int kernels_level_usable(int64_t level)


cdef const real_kernels_t *kernels_for(str dtype) except NULL
cdef const split_kernels_t *split_kernels() noexcept
cdef item_fn cast_kernel() noexcept
cdef const pool_kernels_t *pool_kernels_for(int pool_type) noexcept
cdef int run_items(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, object workspace,
                   int64_t workspace_offset, int threads) except -1
cdef int run_job(item_fn fn, const void *job, int64_t items, int64_t scratch_bytes, char *scratch,
                 int threads) except -1
cpdef int thread_limit() noexcept
