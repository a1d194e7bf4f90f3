/* The kernels of bfloat16 pieces at one ISA level, which has instructions for them; see unit.h. */
#include "job.h"

#define OF_LEVELS_WITH_A_BASE
#include "unit.h"

#if UNIT_IS_COMPILED

#define VECTOR_BYTES 64
#define REAL float
#define REAL_BYTES 4
#define NAMED(name) JOIN(name, _float32)
#include "vector.h"
#include "epilogue.h"

#include "pieces.h"
#include "tiles.h"
#include "store.h"
/* clang-format off */
#include STRING(SPLIT_TILES)
/* clang-format on */
#include "source.h"
#include "weight.h"
#include "correlate.h"
#include "gradient.h"

static const kernels_t table = {
    .tile_lines = TILE_LINES,
    .rate = SPLIT_RATE,
    .sum_roundoffs = SPLIT_SUM_ROUNDOFFS,
    .source_bytes = SPLIT_SOURCE_BYTES,
#define KERNEL(name) .name = split_##name,
#include "kernels.inc"
#undef KERNEL
};

const kernels_t *const OWN_TABLES(ISA_LEVEL)[ROOM_TYPES] = {&table};

#endif
