/* Everything that exists once per element type; isa_unit.c includes this with REAL, REAL_BYTES, NAMED and REAL_MATH
 * set. */
#define LANES ((int64_t)(VECTOR_BYTES / REAL_BYTES))
#define TILE_COLUMNS (TILE_VECTORS * LANES)

typedef REAL NAMED(vector) __attribute__((vector_size(VECTOR_BYTES)));
/* The same at any address: for arrays of the user's. */
typedef REAL NAMED(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#include "shuffle.h"
#include "epilogue.h"
#include "algorithms/implicit_gemm/tile.h"
#include "pack.h"
#include "rows.h"
#include "gather.h"
#include "algorithms/implicit_gemm/dot.h"
#include "algorithms/implicit_gemm/panel.h"
#include "algorithms/implicit_gemm/implicit_gemm.h"
#include "algorithms/direct/direct.h"
#include "algorithms/direct/few_filters.h"
#include "algorithms/depthwise/nhwc.h"
#include "algorithms/depthwise/nhwc_weight.h"
#include "algorithms/depthwise/small_groups_panel.h"
#include "algorithms/depthwise/small_groups.h"
#include "algorithms/depthwise/small_groups_weight.h"
#include "algorithms/depthwise/nchw.h"
#include "algorithms/depthwise/nchw_weight.h"
#include "algorithms/fft_fused/fourier.h"
#include "algorithms/fft_fused/fft_fused.h"
#include "algorithms/fft_fused/weight.h"
#include "algorithms/winograd/transform.h"
#include "algorithms/winograd/tile.h"
#include "algorithms/winograd/lanes.h"
#include "algorithms/winograd/weight.h"
#include "algorithms/winograd/winograd.h"
#include "algorithms/winograd/gradient.h"
#include "engine/peak.h"
#include "elementwise/channel_sums.h"

const real_kernels_t LEVEL_NAMED(NAMED(kernels)) = {
    .lanes = LANES,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
    .multiply_add_peak = NAMED(multiply_add_peak),
    .gemm_pack_weight = NAMED(gemm_pack_weight),
    .gemm_correlate = NAMED(gemm_correlate),
    .gemm_weight_gradient = NAMED(gemm_weight_gradient),
    .gemm_weight_reduce = NAMED(gemm_weight_reduce),
    .direct_correlate = NAMED(direct_correlate),
    .direct_weight_gradient = NAMED(direct_weight_gradient),
    .direct_weight_reduce = NAMED(direct_weight_reduce),
    .narrow_pack = NAMED(narrow_pack),
    .narrow_correlate = NAMED(narrow_correlate),
    .depthwise_pack = NAMED(depthwise_pack),
    .depthwise_correlate = NAMED(depthwise_correlate),
    .depthwise_gradient = NAMED(depthwise_gradient),
    .depthwise_reduce = NAMED(depthwise_reduce),
    .grouped_pack = NAMED(grouped_pack),
    .grouped_correlate = NAMED(grouped_correlate),
    .grouped_gradient = NAMED(grouped_gradient),
    .grouped_reduce = NAMED(grouped_reduce),
    .planes_correlate = NAMED(planes_correlate),
    .planes_weight_gradient = NAMED(planes_weight_gradient),
    .planes_weight_reduce = NAMED(planes_weight_reduce),
    .spectral_pack = NAMED(spectral_pack),
    .spectral_correlate = NAMED(spectral_correlate),
    .spectral_gradient = NAMED(spectral_gradient),
    .spectral_reduce = NAMED(spectral_reduce),
    .winograd_pack_weight = NAMED(winograd_pack_weight),
    .winograd_block = NAMED(winograd_block),
    .winograd_source = NAMED(winograd_source),
    .winograd_panel = NAMED(winograd_panel),
    .winograd_operand = NAMED(winograd_operand),
    .winograd_product = NAMED(winograd_product),
    .winograd_split = NAMED(winograd_split),
    .winograd_gradient = NAMED(winograd_gradient),
    .channel_sums = NAMED(channel_sums),
};

#undef LANES
#undef TILE_COLUMNS
#undef EACH_ROWS
#undef MOST_DOTS
#undef DOT_ROWS
