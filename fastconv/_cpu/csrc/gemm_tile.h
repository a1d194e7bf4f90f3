/* The register tile of the matrix product.
 *
 *     c[i][j] (+)= sum over r of  a[r][i] * b[r][j],   i < rows <= TILE_ROWS,  j < TILE_COLUMNS,  r < depth
 *
 * Layout: a is packed [depth][rows] (broadcast), b [depth][TILE_COLUMNS] (vectors), c has row stride `ldc` and contiguous
 * columns at any address. Preconditions: a and b readable for depth entries; c writable for rows x TILE_COLUMNS.
 * Numerics: one chain of (fused where the ISA has it) multiply-adds per element that starts at zero; with `accumulate`
 * its end is added to c, so that long sums are sums of blocks. */
typedef void (*NAMED(tile_fn))(int64_t depth, const REAL *a, const REAL *b, REAL *c, int64_t ldc, int accumulate);

static inline __attribute__((always_inline)) void NAMED(tile_body)(const int rows, int64_t depth, const REAL *a,
                                                                   const REAL *b, REAL *c, int64_t ldc,
                                                                   int accumulate) {
    NAMED(vector) sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] = (NAMED(vector)){0};
#pragma GCC unroll 2
    for (int64_t r = 0; r < depth; r++) {
        NAMED(vector) columns[TILE_VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) columns[v] = *(const NAMED(unaligned) *)(b + r * TILE_COLUMNS + v * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] += columns[v] * a[r * rows + i];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) {
            NAMED(unaligned) *target = (NAMED(unaligned) *)(c + i * ldc + v * LANES);
            if (accumulate) sum[i][v] += *target;
            *target = sum[i][v];
        }
}

#define TILE(rows)                                                                                               \
    static void JOIN(NAMED(tile), rows)(int64_t depth, const REAL *a, const REAL *b, REAL *c, int64_t ldc,       \
                                        int accumulate) {                                                        \
        NAMED(tile_body)(rows, depth, a, b, c, ldc, accumulate);                                                 \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if TILE_ROWS > 6
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#endif
#undef TILE

#define TILE(rows) JOIN(NAMED(tile), rows)
/* By the number of rows. */
static const NAMED(tile_fn) NAMED(tiles)[TILE_ROWS + 1] = {
    NULL, TILE(1), TILE(2), TILE(3), TILE(4), TILE(5), TILE(6),
#if TILE_ROWS > 6
    TILE(7), TILE(8), TILE(9), TILE(10), TILE(11), TILE(12), TILE(13), TILE(14),
#endif
};
#undef TILE
