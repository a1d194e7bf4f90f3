/* Everything that a level with bfloat16 products has beside the kernels of real numbers. */
#include "epilogue.h"
#include "algorithms/split_bf16/pieces.h"
#include "algorithms/split_bf16/tiles.h"
#include "algorithms/split_bf16/store.h"
/* clang-format off */
#include SPLIT_TILES
/* clang-format on */
#include "algorithms/split_bf16/source.h"
#include "algorithms/split_bf16/weight.h"
#include "algorithms/split_bf16/correlate.h"
#include "algorithms/split_bf16/gradient.h"

static const split_kernels_t split_kernels = {
    .tile_lines = TILE_LINES,
    .rate = SPLIT_RATE,
    .sum_roundoffs = SPLIT_SUM_ROUNDOFFS,
    .source_bytes = SPLIT_SOURCE_BYTES,
    .pack_weight = split_pack_weight,
    .correlate = split_correlate,
    .gradient_convert = split_gradient_convert,
    .gradient_multiply = split_gradient_multiply,
    .gradient_store = split_gradient_store,
};
