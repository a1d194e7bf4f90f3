/* The register tile of the matrix product.
 *
 *     c[i][j] (+)= sum over r of  a[i, r] * b[r][j],   i < rows <= TILE_ROWS,  j < TILE_COLUMNS,  r < depth
 *     c[i][j] = min(max(c[i][j] + bias + add[i][j], low), high)   where an end is given
 *
 * Layout: b is packed [depth][TILE_COLUMNS] (vectors); c has row stride `ldc` and contiguous columns at any address; a
 * (broadcast) is packed, a[r * rows + i], or looked up, a[row[i] + entry[r]]. A tile that packs b takes its rows from
 * source[entry[r]], beside rows of a that are looked up from source[r * step], and writes them into b for the tiles
 * that follow. Memory that is read soon comes closer meanwhile: looked up rows `ahead` elements further on, a line of
 * each at a time (0: none), and `next_step` elements (0: none) of `next` for every entry. A narrow tile has one vector
 * of columns, LANES in place of TILE_COLUMNS. Preconditions: a and b readable for depth entries; c writable for rows x
 * TILE_COLUMNS. Numerics: one chain of (fused where the ISA has it) multiply-adds per element that starts at zero; with
 * `accumulate` its end is added to c, so that long sums are sums of blocks. */

/* An epilogue of sums in registers: NaN stays NaN. */
typedef struct {
    const REAL *bias; /* one for each row (`bias_step` apart), or for each column */
    int64_t bias_step;
    int bias_by_row;
    const REAL *add; /* NULL: none */
    int64_t add_ld;
    REAL low, high;
} NAMED(tile_end_t);

typedef struct {
    int64_t depth;
    const REAL *a;
    const int64_t *row;
    const int64_t *entry;
    int64_t ahead;
    const REAL *source;
    int64_t step;
    REAL *b;
    const REAL *next;
    int64_t next_step;
    REAL *c;
    int64_t ldc;
    int accumulate;
    const NAMED(tile_end_t) *end; /* NULL: none */
} NAMED(tile_t);

typedef void (*NAMED(tile_fn))(const NAMED(tile_t) *t);

ALWAYS_INLINE void NAMED(end_tile)(const int rows, const int vectors, const int by_row, const int adds,
                                   const NAMED(tile_end_t) *end, NAMED(vector) sum[TILE_ROWS][TILE_VECTORS]) {
    const NAMED(vector) low = NAMED(splat)(end->low), high = NAMED(splat)(end->high);
    NAMED(vector) bias[TILE_VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) bias[v] = NAMED(load)(end->bias + (by_row ? 0 : v * LANES));
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sum[i][v] += by_row ? NAMED(splat)(end->bias[i * end->bias_step]) : bias[v];
            if (adds) sum[i][v] += NAMED(load)(end->add + i * end->add_ld + v * LANES);
            sum[i][v] = NAMED(at_most)(high, NAMED(at_least)(low, sum[i][v]));
        }
}

ALWAYS_INLINE void NAMED(tile_body)(const int rows, const int vectors, const int is_packed, const int is_packing,
                                    const NAMED(tile_t) *t) {
    NAMED(vector) sum[TILE_ROWS][TILE_VECTORS];
    const REAL *line[TILE_ROWS], *const a = t->a, *const source = t->source, *next = t->next;
    const int64_t *const entry = t->entry, depth = t->depth, ahead = t->ahead, next_step = t->next_step;
    const int64_t ldc = t->ldc, step = t->step;
    REAL *const b = t->b, *const c = t->c;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch(c + i * ldc, 1);
        if (vectors > 1) __builtin_prefetch(c + i * ldc + LANES, 1);
        __builtin_prefetch(c + i * ldc + vectors * LANES - 1, 1);
        if (!is_packed) line[i] = a + t->row[i];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[i][v] = (NAMED(vector)){0};
    }
#pragma GCC unroll 2
    for (int64_t r = 0; r < depth; r++) {
        NAMED(vector) columns[TILE_VECTORS];
        if (!is_packed && ahead != 0 && r % LANES == 0)
            for (int i = 0; i < rows; i++) __builtin_prefetch(line[i] + entry[r] + ahead, 0, 2);
        if (!is_packed && !is_packing) {
            __builtin_prefetch(next, 0, 2);
            next += next_step;
        }
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
    if (t->accumulate) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[i][v] += *(const NAMED(unaligned) *)(c + i * ldc + v * LANES);
    }
    const NAMED(tile_end_t) *end = t->end;
    if (end != NULL) {
        if (end->bias_by_row && end->add != NULL)
            NAMED(end_tile)(rows, vectors, 1, 1, end, sum);
        else if (end->bias_by_row)
            NAMED(end_tile)(rows, vectors, 1, 0, end, sum);
        else if (end->add != NULL)
            NAMED(end_tile)(rows, vectors, 0, 1, end, sum);
        else
            NAMED(end_tile)(rows, vectors, 0, 0, end, sum);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) *(NAMED(unaligned) *)(c + i * ldc + v * LANES) = sum[i][v];
}

#define TILE(rows)                                                                                                     \
    static void JOIN(NAMED(tile), rows)(const NAMED(tile_t) *t) { NAMED(tile_body)(rows, TILE_VECTORS, 1, 0, t); }     \
    static void JOIN(NAMED(packing_tile), rows)(const NAMED(tile_t) *t) {                                              \
        NAMED(tile_body)(rows, TILE_VECTORS, 1, 1, t);                                                                 \
    }                                                                                                                  \
    static void JOIN(NAMED(lookup_tile), rows)(const NAMED(tile_t) *t) {                                               \
        NAMED(tile_body)(rows, TILE_VECTORS, 0, 0, t);                                                                 \
    }                                                                                                                  \
    static void JOIN(NAMED(packing_lookup_tile), rows)(const NAMED(tile_t) *t) {                                       \
        NAMED(tile_body)(rows, TILE_VECTORS, 0, 1, t);                                                                 \
    }                                                                                                                  \
    static void JOIN(NAMED(narrow_tile), rows)(const NAMED(tile_t) *t) { NAMED(tile_body)(rows, 1, 0, 0, t); }
EACH_ROWS(TILE)
#undef TILE

/* By the number of rows. */
#define TILE(rows) JOIN(NAMED(tile), rows),
static const NAMED(tile_fn) NAMED(tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(lookup_tile), rows),
static const NAMED(tile_fn) NAMED(lookup_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(packing_tile), rows),
static const NAMED(tile_fn) NAMED(packing_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(packing_lookup_tile), rows),
static const NAMED(tile_fn) NAMED(packing_lookup_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
#define TILE(rows) JOIN(NAMED(narrow_tile), rows),
static const NAMED(tile_fn) NAMED(narrow_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE
