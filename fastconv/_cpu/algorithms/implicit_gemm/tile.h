/* The register tile of the matrix product.
 *
 *     c[i][j] (+)= sum over r of  a[i, r] * b[r][j],   i < rows <= TILE_ROWS,  j < TILE_COLUMNS,  r < depth
 *
 * Layout: b is packed [depth][TILE_COLUMNS] (vectors); c has row stride `ldc` and contiguous columns at any address; a
 * (broadcast) is packed, a[r * rows + i], or looked up, a[row[i] + entry[r]]. A tile that packs b takes its rows from
 * source[entry[r]], beside rows of a that are looked up from source[r * step], and writes them into b for the tiles
 * that follow. Looked up rows `ahead` elements further on come
 * closer meanwhile, a line of each at a time (0: none). A narrow tile has one vector of columns, LANES in
 * place of TILE_COLUMNS. Preconditions: a and b readable for depth entries; c writable for rows x TILE_COLUMNS.
 * Numerics: one chain of (fused where the ISA has it) multiply-adds per element that starts at zero; with `accumulate`
 * its end is added to c, so that long sums are sums of blocks. */
typedef void (*NAMED(tile_fn))(int64_t depth, const REAL *a, const REAL *b, REAL *c, int64_t ldc, int accumulate);
typedef void (*NAMED(packing_tile_fn))(int64_t depth, const REAL *a, const REAL *source, const int64_t *entry, REAL *b,
                                       REAL *c, int64_t ldc, int accumulate);
typedef void (*NAMED(lookup_tile_fn))(int64_t depth, const REAL *a, const int64_t *row, const int64_t *entry,
                                      int64_t ahead, const REAL *b, REAL *c, int64_t ldc, int accumulate);
typedef void (*NAMED(packing_lookup_tile_fn))(int64_t depth, const REAL *a, const int64_t *row, const int64_t *entry,
                                              int64_t ahead, const REAL *source, int64_t step, REAL *b, REAL *c,
                                              int64_t ldc, int accumulate);

ALWAYS_INLINE void NAMED(tile_body)(const int rows, const int vectors, const int is_packed, const int is_packing,
                                    int64_t depth, const REAL *a, const int64_t *row, const int64_t *entry,
                                    int64_t ahead, const REAL *source, int64_t step, REAL *b, REAL *c, int64_t ldc,
                                    int accumulate) {
    NAMED(vector) sum[TILE_ROWS][TILE_VECTORS];
    const REAL *line[TILE_ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch(c + i * ldc, 1);
        if (vectors > 1) __builtin_prefetch(c + i * ldc + LANES, 1);
        __builtin_prefetch(c + i * ldc + vectors * LANES - 1, 1);
        if (!is_packed) line[i] = a + row[i];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[i][v] = (NAMED(vector)){0};
    }
#pragma GCC unroll 2
    for (int64_t r = 0; r < depth; r++) {
        NAMED(vector) columns[TILE_VECTORS];
        if (!is_packed && ahead != 0 && r % LANES == 0)
            for (int i = 0; i < rows; i++) __builtin_prefetch(line[i] + entry[r] + ahead, 0, 2);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            REAL *packed = b + (r * vectors + v) * LANES;
            const REAL *from = is_packed ? source + entry[r] : source + r * step;
            columns[v] = *(const NAMED(unaligned) *)(is_packing ? from + v * LANES : packed);
            if (is_packing) *(NAMED(unaligned) *)packed = columns[v];
        }
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            const REAL factor = is_packed ? a[r * rows + i] : line[i][entry[r]];
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[i][v] += columns[v] * factor;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            NAMED(unaligned) *target = (NAMED(unaligned) *)(c + i * ldc + v * LANES);
            if (accumulate) sum[i][v] += *target;
            *target = sum[i][v];
        }
}

#define TILE(rows)                                                                                                     \
    static void JOIN(NAMED(tile), rows)(int64_t depth, const REAL *a, const REAL *b, REAL *c, int64_t ldc,             \
                                        int accumulate) {                                                              \
        NAMED(tile_body)(rows, TILE_VECTORS, 1, 0, depth, a, NULL, NULL, 0, NULL, 0, (REAL *)b, c, ldc, accumulate);   \
    }                                                                                                                  \
    static void JOIN(NAMED(packing_tile), rows)(int64_t depth, const REAL *a, const REAL *source,                      \
                                                const int64_t *entry, REAL *b, REAL *c, int64_t ldc, int accumulate) { \
        NAMED(tile_body)(rows, TILE_VECTORS, 1, 1, depth, a, NULL, entry, 0, source, 0, b, c, ldc, accumulate);        \
    }                                                                                                                  \
    static void JOIN(NAMED(lookup_tile), rows)(int64_t depth, const REAL *a, const int64_t *row, const int64_t *entry, \
                                               int64_t ahead, const REAL *b, REAL *c, int64_t ldc, int accumulate) {   \
        NAMED(tile_body)(rows, TILE_VECTORS, 0, 0, depth, a, row, entry, ahead, NULL, 0, (REAL *)b, c, ldc,            \
                         accumulate);                                                                                  \
    }                                                                                                                  \
    static void JOIN(NAMED(packing_lookup_tile), rows)(int64_t depth, const REAL *a, const int64_t *row,               \
                                                       const int64_t *entry, int64_t ahead, const REAL *source,        \
                                                       int64_t step, REAL *b, REAL *c, int64_t ldc, int accumulate) {  \
        NAMED(tile_body)(rows, TILE_VECTORS, 0, 1, depth, a, row, entry, ahead, source, step, b, c, ldc, accumulate);  \
    }                                                                                                                  \
    static void JOIN(NAMED(narrow_tile), rows)(int64_t depth, const REAL *a, const int64_t *row, const int64_t *entry, \
                                               int64_t ahead, const REAL *b, REAL *c, int64_t ldc, int accumulate) {   \
        NAMED(tile_body)(rows, 1, 0, 0, depth, a, row, entry, ahead, NULL, 0, (REAL *)b, c, ldc, accumulate);          \
    }
EACH_ROWS(TILE)
#undef TILE

/* By the number of rows. */
#define TILE(rows) JOIN(NAMED(tile), rows),
static const NAMED(tile_fn) NAMED(tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(lookup_tile), rows),
static const NAMED(lookup_tile_fn) NAMED(lookup_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(packing_tile), rows),
static const NAMED(packing_tile_fn) NAMED(packing_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(packing_lookup_tile), rows),
static const NAMED(packing_lookup_tile_fn) NAMED(packing_lookup_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(narrow_tile), rows),
static const NAMED(lookup_tile_fn) NAMED(narrow_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
