/* Vectors of REAL, of the size of the ISA level; included once per type by each_real.h. */
#define LANES ((int64_t)(VECTOR_BYTES / REAL_BYTES))
#define TILE_COLUMNS (TILE_VECTORS * LANES)

typedef REAL NAMED(vector) __attribute__((vector_size(VECTOR_BYTES)));
/* The same at any address: for arrays of the user's. */
typedef REAL NAMED(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#include "shuffle.h"
#include "rows.h"
