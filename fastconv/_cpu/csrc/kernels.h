/* The table of kernels that every ISA level fills: one row of functions per element type.
 *
 * `isa_unit.c` is compiled once per level with that level's flags and exports one symbol, its table; `dispatch.c` picks
 * one table when the library is imported. Adding a level is one header in isa/ and one row in isa/levels.h. */
#ifndef FASTCONV_KERNELS_H
#define FASTCONV_KERNELS_H

#include "correlation.h"
#include "pooling/job.h"

/* Steps of one item of multiply_add_peak. */
#define PEAK_STEPS 20000

typedef struct {
    int64_t lanes;     /* elements of one vector */
    int64_t tile_rows; /* register tile of the matrix product */
    int64_t tile_columns;
    item_fn multiply_add_peak; /* job: REAL[2], factor and term; see engine/peak.h */
    item_fn gemm_pack_weight;  /* job: gemm_job_t, see algorithms/implicit_gemm/implicit_gemm.h; item: one row panel */
    item_fn gemm_correlate;
    item_fn gemm_weight_gradient;
    item_fn gemm_weight_reduce;
    item_fn direct_correlate; /* job: direct_job_t, see algorithms/direct/direct.h */
    item_fn direct_weight_gradient;
    item_fn direct_weight_reduce;
    item_fn narrow_pack; /* job: narrow_job_t, see algorithms/direct/few_filters.h; item: one filter of one phase */
    item_fn narrow_correlate;
    item_fn depthwise_pack;      /* job: depthwise_phase_t, see algorithms/depthwise/nhwc.h; item: one tap */
    item_fn depthwise_correlate; /* job: depthwise_job_t */
    item_fn depthwise_gradient;  /* job: depthwise_gradient_job_t, see algorithms/depthwise/nhwc_weight.h */
    item_fn depthwise_reduce;
    item_fn
        grouped_pack; /* job: depthwise_phase_t, see algorithms/depthwise/small_groups.h; item: one vector of filters */
    item_fn grouped_correlate;
    item_fn grouped_gradient; /* see algorithms/depthwise/small_groups_weight.h */
    item_fn grouped_reduce;
    item_fn planes_correlate; /* job: planes_job_t, see algorithms/depthwise/nchw.h and
                                 algorithms/depthwise/nchw_weight.h */
    item_fn planes_weight_gradient;
    item_fn planes_weight_reduce;
    item_fn
        spectral_pack; /* job: spectral_job_t, see algorithms/fft_fused/fft_fused.h and algorithms/fft_fused/weight.h */
    item_fn spectral_correlate;
    item_fn spectral_gradient;
    item_fn spectral_reduce;
    item_fn winograd_pack_weight; /* job: winograd_job_t, see algorithms/winograd/weight.h and
                                     algorithms/winograd/winograd.h */
    item_fn winograd_block;
    item_fn winograd_source;
    item_fn winograd_panel;
    item_fn winograd_operand; /* see algorithms/winograd/gradient.h */
    item_fn winograd_product;
    item_fn winograd_split;
    item_fn winograd_gradient;
    item_fn channel_sums; /* job: channel_sums_job_t, see elementwise/channel_sums.h */
} real_kernels_t;

/* Of the levels that multiply bfloat16; job: split_job_t, see algorithms/split_bf16/job.h. */
typedef struct {
    int64_t tile_lines;
    double rate;          /* multiply-adds a second over those of float32 */
    double sum_roundoffs; /* typical error of a sum of n products, in roundoffs, over the square root of n; measured */
    int64_t source_bytes; /* of an item's converted source, which stays in L2 */
    item_fn pack_weight;  /* algorithms/split_bf16/weight.h; item: one panel of filters of one group */
    item_fn correlate;    /* algorithms/split_bf16/correlate.h */
    item_fn gradient_convert; /* algorithms/split_bf16/gradient.h */
    item_fn gradient_multiply;
    item_fn gradient_store;
} split_kernels_t;

typedef struct {
    const char *name; /* as FASTCONV_MAX_ISA and show_runtime() spell it */
    const real_kernels_t *float32;
    const real_kernels_t *float64;
    const pool_kernels_t *pooling; /* POOL_TYPES rows, see pooling/job.h */
    const split_kernels_t *split;  /* NULL: none */
    item_fn cast;                  /* job: cast_job_t, see elementwise/cast.h */
} kernels_t;

/* The table in use: the highest level that this CPU runs and FASTCONV_MAX_ISA allows. NULL for an unknown `max_isa`;
 * `max_isa` NULL: no cap. */
const kernels_t *kernels_select(const char *max_isa);

/* Names of all levels compiled in, lowest first; NULL past the end. */
const char *kernels_level_name(int64_t level);
/* Whether this CPU and operating system run the level. */
int kernels_level_usable(int64_t level);

#endif
