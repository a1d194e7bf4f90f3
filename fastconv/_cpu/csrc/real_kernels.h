/* Everything that exists once per element type; isa_unit.c includes this with REAL, REAL_BYTES, NAMED and REAL_MATH
 * set. */
#define LANES ((int64_t)(VECTOR_BYTES / REAL_BYTES))
#define TILE_COLUMNS (TILE_VECTORS * LANES)

typedef REAL NAMED(vector) __attribute__((vector_size(VECTOR_BYTES)));
/* The same at any address: for arrays of the user's. */
typedef REAL NAMED(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#include "shuffle.h"
#include "epilogue.h"
#include "gemm_tile.h"
#include "pack.h"
#include "rows.h"
#include "gather.h"
#include "gemm_dot.h"
#include "gemm_panel.h"
#include "implicit_gemm.h"
#include "direct.h"
#include "narrow.h"
#include "depthwise.h"
#include "depthwise_weight.h"
#include "grouped_panel.h"
#include "grouped.h"
#include "grouped_weight.h"
#include "planes.h"
#include "planes_weight.h"
#include "fourier.h"
#include "spectral.h"
#include "spectral_weight.h"
#include "winograd_transform.h"
#include "winograd_tile.h"
#include "winograd_lanes.h"
#include "winograd_weight.h"
#include "winograd.h"
#include "winograd_gradient.h"
#include "peak.h"
#include "channel_sums.h"

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
