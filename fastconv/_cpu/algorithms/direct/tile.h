/* The register tile of the direct kernels: a correlation of rows that lie in scratch.
 *
 *     target[a][b] (+)= sum over slices, rows i, k of  factor[a][i][k] * source[b][i][offset[k]]
 *
 * a counts up to DIRECT_ROWS accumulators, b up to WIDEST vectors. There are two uses of the rows i.
 *
 * Sliding: factor[a][i] is row i - a of one image of `rows` rows, where that exists. A source row that is loaded once
 * is then used by all a: output rows of a convolution (factor: its weights), or tap rows of a weight gradient (factor:
 * rows of the output gradient). No product is formed that the sum does not have.
 *
 * Not sliding: factor[a] are images of their own, one per filter, `factor_step` apart; i < rows.
 *
 * Layout: everything in elements; sources and targets at any alignment. A factor is one number for all lanes (`splat`)
 * or a vector. Numerics: each sum is one chain from zero; with `accumulate` its end is added to the target. */
typedef struct {
    const direct_slice_t *slices;
    int64_t slice_count;
    const REAL *factor;
    int64_t factor_row;
    int64_t factor_unit; /* from k to k + 1 */
    int64_t factor_step; /* from a to a + 1 */
    int64_t source_row;
    const int64_t *offset;
    int64_t inner; /* entries of `offset` */
    int64_t count; /* accumulators used, 1 to DIRECT_ROWS */
    int64_t target_step;
    int sliding;
    int accumulate;
    int slices_of_3; /* sliding, 3 rows in each slice, inner is 3, and it does not accumulate */
} NAMED(product_t);

#define WIDEST DIRECT_WIDEST

/* One row i: accumulators lo to hi. `taps`: a constant number of them, or 0. */
ALWAYS_INLINE void NAMED(row_of_tile)(NAMED(vector) (*sum)[WIDEST], const int lo, const int hi, const int width,
                                      const int splat, const int taps, const NAMED(product_t) *p,
                                      const REAL *const *source, int64_t source_at, const REAL *factor) {
    const REAL *x[WIDEST];
    const int64_t unit = splat ? 1 : p->factor_unit, step = p->factor_step, inner = taps ? taps : p->inner;
    const int64_t *offset = p->offset;
    factor += lo * step;
#pragma GCC unroll 8
    for (int b = 0; b < width; b++) x[b] = source[b] + source_at;
    for (int64_t k = 0; k < inner; k++) {
        const int64_t at = offset[k];
        NAMED(vector) value[WIDEST];
#pragma GCC unroll 8
        for (int b = 0; b < width; b++) value[b] = *(const NAMED(unaligned) *)(x[b] + at);
#pragma GCC unroll 8
        for (int a = lo; a <= hi; a++) {
            const REAL *w = factor + (a - lo) * step;
            const NAMED(vector) f = splat ? *w - (NAMED(vector)){0} : (NAMED(vector))*(const NAMED(unaligned) *)w;
#pragma GCC unroll 8
            for (int b = 0; b < width; b++) sum[a][b] += value[b] * f;
        }
        factor += unit;
    }
}

/* Any slices; the rows that meet accumulators only in part go through the same code with other constants. */
ALWAYS_INLINE void NAMED(sum_slices)(NAMED(vector) (*sum)[WIDEST], const int most, const int width, const int splat,
                                     const NAMED(product_t) *p, const REAL *const *source) {
    const int64_t last = p->count - 1;
    for (int64_t s = 0; s < p->slice_count; s++) {
        const direct_slice_t slice = p->slices[s];
        const int64_t end = slice.rows > 0 ? slice.rows + (p->sliding ? last : 0) : 0;
        const REAL *factor = p->factor + slice.factor;
        int64_t source_at = slice.source;
        for (int64_t i = 0; i < end; i++, factor += p->factor_row, source_at += p->source_row) {
            const int64_t lo = p->sliding && i >= slice.rows ? i - slice.rows + 1 : 0;
            const int64_t hi = p->sliding && i < last ? i : last;
#define CASE(lo, hi)                                                                                                   \
    case (lo) * DIRECT_ROWS + (hi):                                                                                    \
        if (hi < most) NAMED(row_of_tile)(sum, lo, hi, width, splat, 0, p, source, source_at, factor);                 \
        break
            switch (lo * DIRECT_ROWS + hi) {
                CASE(0, 0);
                CASE(0, 1);
                CASE(0, 2);
                CASE(0, 3);
                CASE(1, 1);
                CASE(1, 2);
                CASE(1, 3);
                CASE(2, 2);
                CASE(2, 3);
                CASE(3, 3);
            default: __builtin_unreachable();
            }
#undef CASE
        }
    }
}

/* Sliding slices of 3 rows and 3 taps each, the commonest of all, without a branch inside. */
ALWAYS_INLINE void NAMED(sum_slices_of_3)(NAMED(vector) (*sum)[WIDEST], const int count, const int width,
                                          const int splat, const NAMED(product_t) *p, const REAL *const *source) {
    for (int64_t s = 0; s < p->slice_count; s++) {
        const REAL *factor = p->factor + p->slices[s].factor;
#pragma GCC unroll 8
        for (int i = 0; i < count + 2; i++)
            NAMED(row_of_tile)(sum, i < 3 ? 0 : i - 2, i < count ? i : count - 1, width, splat, 3, p, source,
                               p->slices[s].source + i * p->source_row, factor + i * p->factor_row);
    }
}

/* `most`: accumulators there is code for; `fixed`: all of them are in use, on slices of 3. */
ALWAYS_INLINE void NAMED(tile_of)(const int most, const int width, const int splat, const int fixed,
                                  const NAMED(product_t) *p, const REAL *const *source, REAL *const *target) {
    NAMED(vector) sum[DIRECT_ROWS][WIDEST];
#pragma GCC unroll 8
    for (int a = 0; a < most; a++)
#pragma GCC unroll 8
        for (int b = 0; b < width; b++) sum[a][b] = (NAMED(vector)){0};
    if (fixed)
        NAMED(sum_slices_of_3)(sum, most, width, splat, p, source);
    else
        NAMED(sum_slices)(sum, most, width, splat, p, source);
#pragma GCC unroll 8
    for (int a = 0; a < most; a++) {
        if (!fixed && a >= p->count) break;
#pragma GCC unroll 8
        for (int b = 0; b < width; b++) {
            NAMED(unaligned) *to = (NAMED(unaligned) *)(target[b] + a * p->target_step);
            if (!fixed && p->accumulate) sum[a][b] += *to;
            *to = sum[a][b];
        }
    }
}

/* Where the vectors of rows are read and written: vector j of a row starts at pixel min(j*advance, limit), so that the
 * last one overlaps its neighbour in place of running over the end. */
typedef struct {
    int64_t vectors;
    int64_t advance;
    int64_t limit;
    const REAL *source;
    int64_t source_row;
    int64_t source_unit;
    REAL *target;
    int64_t target_row;
    int64_t target_unit;
    int64_t row;       /* the next one to be summed */
    int64_t next;      /* and its vector */
    prefetch_t *ahead; /* NULL: nothing */
} NAMED(sweep_t);

/* `tiles` tiles one after the other; each takes `height` rows. */
ALWAYS_INLINE void NAMED(strip_of)(const int most, const int width, const int splat, const int fixed,
                                   const NAMED(product_t) *product, NAMED(sweep_t) *sweep, int64_t height,
                                   int64_t tiles) {
    const NAMED(product_t) p = *product; /* which no store can change */
    const NAMED(sweep_t) s = *sweep;
    int64_t row = s.row, next = s.next;
    for (; tiles > 0; tiles--) {
        if (s.ahead != NULL) ask_for_share(s.ahead);
        const REAL *source[WIDEST];
        REAL *target[WIDEST];
#pragma GCC unroll 8
        for (int b = 0; b < width; b++) {
            const int64_t at = min64(next * s.advance, s.limit);
            source[b] = s.source + row * s.source_row + at * s.source_unit;
            target[b] = s.target + row * s.target_row + at * s.target_unit;
            if (++next == s.vectors) {
                next = 0;
                row += height;
            }
        }
        NAMED(tile_of)(most, width, splat, fixed, &p, source, target);
    }
    sweep->row = row;
    sweep->next = next;
}
#undef WIDEST

typedef void (*NAMED(direct_tile_fn))(const NAMED(product_t) *p, const REAL *const *source, REAL *const *target);
typedef void (*NAMED(direct_strip_fn))(const NAMED(product_t) *p, NAMED(sweep_t) *s, int64_t height, int64_t tiles);

/* By width: [0] is DIRECT_WIDEST. */
#define STRIP(name, most, width, splat, fixed)                                                                         \
    static void NAMED(name)(const NAMED(product_t) *p, NAMED(sweep_t) *s, int64_t height, int64_t tiles) {             \
        NAMED(strip_of)(most, width, splat, fixed, p, s, height, tiles);                                               \
    }
#define STRIPS(name, most, splat, fixed)                                                                               \
    STRIP(name##_1, most, 1, splat, fixed)                                                                             \
    STRIP(name##_2, most, 2, splat, fixed)                                                                             \
    STRIP(name##_3, most, 3, splat, fixed)                                                                             \
    STRIP(name##_8, 1, 8, splat, 0)                                                                                    \
    static const NAMED(direct_strip_fn)                                                                                \
        NAMED(name)[DIRECT_WIDE + 1] = {NAMED(name##_8), NAMED(name##_1), NAMED(name##_2), NAMED(name##_3)};
STRIPS(vector_strips, DIRECT_ROWS, 0, 0)
STRIPS(splat_strips, DIRECT_ROWS, 1, 0)
STRIPS(vector_strips_4x3, 4, 0, 1)
STRIPS(vector_strips_3x3, 3, 0, 1)
STRIPS(splat_strips_4x3, 4, 1, 1)
STRIPS(splat_strips_3x3, 3, 1, 1)
#undef STRIP
#undef STRIPS

#define TILE(most, width)                                                                                              \
    static void NAMED(tile_##width)(const NAMED(product_t) *p, const REAL *const *source, REAL *const *target) {       \
        NAMED(tile_of)(most, width, 0, 0, p, source, target);                                                          \
    }
TILE(DIRECT_ROWS, 1)
TILE(DIRECT_ROWS, 2)
TILE(DIRECT_ROWS, 3)
TILE(1, 8)
#undef TILE
static const NAMED(direct_tile_fn)
    NAMED(direct_tiles)[DIRECT_WIDE + 1] = {NAMED(tile_8), NAMED(tile_1), NAMED(tile_2), NAMED(tile_3)};

/* Vectors of the next tile when `left` are to be summed, with `count` accumulators each. */
static inline int64_t NAMED(tile_width)(int64_t left, int64_t count) {
    if (count == 1 && left >= DIRECT_WIDEST) return DIRECT_WIDEST;
    /* 4 is 2 + 2: a lone last vector has too few accumulators to hide the latency of additions. */
    return left == 4 ? 2 : min64(left, DIRECT_WIDE);
}

/* All vectors of `blocks` blocks of `height` rows each. */
static void NAMED(sweep_blocks)(const NAMED(product_t) *p, NAMED(sweep_t) *s, int splat, int64_t height,
                                int64_t blocks) {
    const NAMED(direct_strip_fn) *strips = splat ? NAMED(splat_strips) : NAMED(vector_strips);
    if (p->slices_of_3 && p->count == 4) strips = splat ? NAMED(splat_strips_4x3) : NAMED(vector_strips_4x3);
    if (p->slices_of_3 && p->count == 3) strips = splat ? NAMED(splat_strips_3x3) : NAMED(vector_strips_3x3);
    for (int64_t left = blocks * s->vectors; left > 0;) {
        const int64_t width = NAMED(tile_width)(left, p->count);
        int64_t tiles = left / width;
        if (width == DIRECT_WIDE && left % width == 1 && tiles > 1) tiles--;
        strips[width == DIRECT_WIDEST ? 0 : width](p, s, height, tiles);
        left -= tiles * width;
    }
}
