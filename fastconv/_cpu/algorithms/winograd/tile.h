/* The transforms of Winograd's minimal filtering on whole tiles: both axes, one vector of channels or filters.
 *
 * Elements of a tile lie at h * line + w * step of their array, and the next tile `next` elements behind it. A tile's
 * points are planes: its point (h, w) lies at (h * w_tile + w) planes, that is at line = w_tile * plane
 * and step = plane. */
typedef struct {
    REAL *base;
    int64_t line;
    int64_t step;
    int64_t next;
} NAMED(tile_array_t);

/* Of `count` tiles. */
typedef void (*NAMED(tile_transform_fn))(NAMED(tile_array_t) source, NAMED(tile_array_t) target, int64_t count,
                                         NAMED(vector) *check);

ALWAYS_INLINE void NAMED(transform_line)(const transform_kind_t kind, const int tile_size, const int size,
                                         const NAMED(vector) *in, NAMED(vector) *out) {
    if (kind == TRANSFORM_SOURCE) NAMED(transform_source)(tile_size, in, out);
    if (kind == TRANSFORM_WEIGHT) NAMED(transform_weight)(tile_size, size, in, out);
    if (kind == TRANSFORM_RESULT) NAMED(transform_result)(tile_size, size, in, out);
}

/* `size`: taps of a weight, or results. With results, `check` stays zero if and only if all of them are finite. */
ALWAYS_INLINE void NAMED(transform_tile)(const transform_kind_t kind, const int h_tile, const int w_tile,
                                         const int size, NAMED(tile_array_t) source, NAMED(tile_array_t) target,
                                         NAMED(vector) *check) {
    const int h_size = h_tile == 1 ? 1 : size, w_size = w_tile == 1 ? 1 : size;
    const int h_in = kind == TRANSFORM_WEIGHT ? h_size : h_tile, h_out = kind == TRANSFORM_RESULT ? h_size : h_tile;
    const int w_in = kind == TRANSFORM_WEIGHT ? w_size : w_tile, w_out = kind == TRANSFORM_RESULT ? w_size : w_tile;
    NAMED(vector) half[WINOGRAD_MAX_TILE_SIZE][WINOGRAD_MAX_TILE_SIZE];
#pragma GCC unroll 8
    for (int w = 0; w < w_in; w++) {
        NAMED(vector) in[WINOGRAD_MAX_TILE_SIZE], out[WINOGRAD_MAX_TILE_SIZE];
#pragma GCC unroll 8
        for (int h = 0; h < h_in; h++)
            in[h] = *(const NAMED(vector) *)(source.base + h * source.line + w * source.step);
        NAMED(transform_line)(kind, h_tile, h_size, in, out);
#pragma GCC unroll 8
        for (int h = 0; h < h_out; h++) half[h][w] = out[h];
    }
#pragma GCC unroll 8
    for (int h = 0; h < h_out; h++) {
        NAMED(vector) out[WINOGRAD_MAX_TILE_SIZE];
        NAMED(transform_line)(kind, w_tile, w_size, half[h], out);
#pragma GCC unroll 8
        for (int w = 0; w < w_out; w++) {
            *(NAMED(vector) *)(target.base + h * target.line + w * target.step) = out[w];
            if (kind == TRANSFORM_RESULT) *check += out[w] * 0;
        }
    }
}

/* One function for each kind, form of the tile and number of taps or results. */
#define TILE(kind, h, w, size)                                                                                         \
    static void NAMED(kind##_##h##w##size)(NAMED(tile_array_t) source, NAMED(tile_array_t) target, int64_t count,      \
                                           NAMED(vector) *check) {                                                     \
        for (; count > 0; count--, source.base += source.next, target.base += target.next)                             \
            NAMED(transform_tile)(TRANSFORM_##kind, h, w, size, source, target, check);                                \
    }
#define LINES(X, kind, tile, size) X(kind, 1, tile, size) X(kind, tile, 1, size)
#define FORMS(X, kind, tile, size) X(kind, tile, tile, size) LINES(X, kind, tile, size)
#define SIZES(X, kind)                                                                                                 \
    FORMS(X, kind, 4, 2)                                                                                               \
    FORMS(X, kind, 4, 3)                                                                                               \
    FORMS(X, kind, 5, 2)                                                                                               \
    FORMS(X, kind, 5, 3)                                                                                               \
    FORMS(X, kind, 5, 4)                                                                                               \
    FORMS(X, kind, 6, 2)                                                                                               \
    FORMS(X, kind, 6, 3)                                                                                               \
    FORMS(X, kind, 6, 4)                                                                                               \
    FORMS(X, kind, 6, 5)                                                                                               \
    LINES(X, kind, 8, 2)                                                                                               \
    LINES(X, kind, 8, 3)                                                                                               \
    LINES(X, kind, 8, 4)                                                                                               \
    LINES(X, kind, 8, 5)                                                                                               \
    LINES(X, kind, 8, 6)                                                                                               \
    LINES(X, kind, 8, 7)
#define SOURCE_SIZES(X) FORMS(X, SOURCE, 4, 1) FORMS(X, SOURCE, 5, 1) FORMS(X, SOURCE, 6, 1) LINES(X, SOURCE, 8, 1)
SOURCE_SIZES(TILE)
SIZES(TILE, WEIGHT)
SIZES(TILE, RESULT)
#undef TILE

/* `sizes`: taps or results on h and w. */
static NAMED(tile_transform_fn)
    NAMED(tile_transform)(const winograd_job_t *job, transform_kind_t kind, const int64_t *sizes) {
    const int64_t size = kind == TRANSFORM_SOURCE ? 1 : max64(sizes[0], sizes[1]);
#define TILE(kind, h, w, size)                                                                                         \
    case ((TRANSFORM_##kind * 10 + h) * 10 + w) * 10 + size: return NAMED(kind##_##h##w##size);
    switch (((kind * 10 + job->tile_size[0]) * 10 + job->tile_size[1]) * 10 + size) {
        SOURCE_SIZES(TILE)
        SIZES(TILE, WEIGHT)
        SIZES(TILE, RESULT)
    }
#undef TILE
    return NULL;
}
#undef LINES
#undef FORMS
#undef SIZES
#undef SOURCE_SIZES
