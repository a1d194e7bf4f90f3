/* The room's table for REAL; included once per type by each_real.h, behind the kernels. */
static const kernels_t NAMED(table) = {
    .lanes = LANES,
    .tile_rows = TILE_ROWS,
    .tile_columns = TILE_COLUMNS,
#define KERNEL(name) .name = NAMED(name),
#include "kernels.inc"
#undef KERNEL
};

#undef LANES
#undef TILE_COLUMNS
