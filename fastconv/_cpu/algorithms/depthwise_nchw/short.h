/* As correlate.h, of rows that fit into a vector and at most half a vector of pixels: two rows of pixels side by side,
 * and every source row is loaded once, from its first column on.
 *
 * Lanes of the lower half are pixels of one row, those of the upper half of the next; their elements for a width tap
 * are picked from the two source rows that they see. Numerics: one chain per element over the height taps and their
 * width taps. */
#define SHORT_TAPS 5 /* at most */
/* Rows of up to 8 pixels are common. Of shorter ones a single function computes a pair of rows at a time. */
#define SHORT_IS_COMMON (VECTOR_BYTES / REAL_BYTES >= 16)

typedef struct NAMED(short_rows) {
    MASK which[SHORT_TAPS]; /* for each width tap: the elements of two source rows that the lanes read */
    MASK inside[SHORT_TAPS];
} NAMED(short_rows_t);

/* Whether rows are short: see above. */
static inline int NAMED(rows_are_short)(const nchw_job_t *job, const correlation_t *c) {
    return job->sides == 1 && 2 * c->pixels[2] <= LANES && c->source_size[2] <= LANES &&
           c->source_size[2] + job->after >= LANES && max64(c->taps[1], c->taps[2]) <= SHORT_TAPS;
}

static void NAMED(make_short_rows)(const correlation_t *c, NAMED(short_rows_t) *rows) {
    for (int64_t t = 0; t < c->taps[2]; t++)
        for (int64_t l = 0; l < LANES; l++) {
            const int64_t pixel = l % (LANES / 2), from = pixel * c->step[2] + c->first[2] + t;
            const int is_inside = pixel < c->pixels[2] && from >= 0 && from < c->source_size[2];
            rows->which[t][l] = (is_inside ? from : 0) + l / (LANES / 2) * LANES;
            rows->inside[t][l] = is_inside ? -1 : 0;
        }
}

/* `rows` rows of pixels from h on, in `pairs` of two, the last of which may have one row. */
ALWAYS_INLINE void NAMED(nchw_short_pairs)(const int pairs, const int taps, const int step, const NAMED(nchw_turn_t) *t,
                                           int64_t h, int64_t rows) {
    const int64_t lines = (rows - 1) * step + taps;
    const correlation_t *c = t->correlation;
    const REAL *factors = t->side[0].factors;
    const int64_t width_taps = t->side[0].taps;
    NAMED(vector) sum[(NCHW_ROWS + 1) / 2], row[NCHW_ROWS + 1];
    MASK upper;
    for (int i = 0; i < LANES; i++) upper[i] = (i + LANES / 2) % LANES;
#pragma GCC unroll 4
    for (int a = 0; a < pairs; a++) sum[a] = (NAMED(vector)){0};
#if SHORT_IS_COMMON
#pragma GCC unroll 32
#endif
    for (int i = 0; i < (pairs - 1) * 2 * step + taps; i++) {
        if (step == 2 && i % 4 >= taps) continue; /* no row sees it first */
        const NAMED(vector) low = NAMED(load)(NAMED(plane_row)(&t->plane, h * step + c->first[1] + i));
        const NAMED(vector) high = NAMED(load)(
            i + step < lines ? NAMED(plane_row)(&t->plane, h * step + c->first[1] + i + step) : t->plane.zeros);
        for (int64_t s = 0; s < width_taps; s++) {
            const NAMED(vector) x =
                (NAMED(vector))((MASK)NAMED(shuffle)(low, high, t->short_rows->which[s]) & t->short_rows->inside[s]);
#pragma GCC unroll 4
            for (int a = 0; a < pairs; a++)
                if (i - a * 2 * step >= 0 && i - a * 2 * step < taps)
                    sum[a] += x * factors[s * taps + i - a * 2 * step];
        }
    }
    REAL *to = t->result + h * t->result_row;
    NAMED(prefetch_rows)(t->plane.base + (h * step + c->first[1] + taps - 1) * t->plane.pitch, t->plane.pitch,
                         2 * pairs * step, 1, 0);
    NAMED(prefetch_rows)(to, t->result_row, 2 * pairs, 1, 1);
#pragma GCC unroll 4
    for (int a = 0; a < pairs; a++) {
        row[2 * a] = sum[a];
        row[2 * a + 1] = NAMED(shuffle_one)(sum[a], upper);
    }
    NAMED(clamp_vectors)(&t->clamp, row, 2 * pairs);
    NAMED(store_tile_end)(to, t->result_row, row, rows, 1, c->pixels[2]);
}

#if SHORT_IS_COMMON

#define BLOCK(name, pairs, taps, step)                                                                                 \
    static void NAMED(name##_##pairs)(const NAMED(nchw_turn_t) *t, int64_t h) {                                        \
        NAMED(nchw_short_pairs)(pairs, taps, step, t, h, t->rows);                                                     \
    }
/* A BLOCK for each number of pairs, by rows less one. */
#define SHORT_BLOCKS(name, ...)                                                                                        \
    BLOCK(name, 1, __VA_ARGS__)                                                                                        \
    BLOCK(name, 2, __VA_ARGS__)                                                                                        \
    BLOCK(name, 3, __VA_ARGS__)                                                                                        \
    BLOCK(name, 4, __VA_ARGS__)                                                                                        \
    static const NAMED(nchw_block_fn)                                                                                  \
        NAMED(name)[NCHW_ROWS] = {NAMED(name##_1), NAMED(name##_1), NAMED(name##_2), NAMED(name##_2),                  \
                                  NAMED(name##_3), NAMED(name##_3), NAMED(name##_4)};
SHORT_BLOCKS(nchw_3_short, 3, 1)
SHORT_BLOCKS(nchw_5_short, 5, 1)
SHORT_BLOCKS(nchw_3_short_strided, 3, 2)
SHORT_BLOCKS(nchw_5_short_strided, 5, 2)
#undef SHORT_BLOCKS
#undef BLOCK

static const NAMED(nchw_block_fn) *NAMED(nchw_short_blocks)(const correlation_t *c) {
    if (c->taps[1] == 3) return c->step[1] == 1 ? NAMED(nchw_3_short) : NAMED(nchw_3_short_strided);
    return c->step[1] == 1 ? NAMED(nchw_5_short) : NAMED(nchw_5_short_strided);
}

#else

static void NAMED(nchw_short_any)(const NAMED(nchw_turn_t) *t, int64_t h) {
    for (int64_t row = 0; row < t->rows; row += 2)
        NAMED(nchw_short_pairs)(1, t->correlation->taps[1], t->correlation->step[1], t, h + row,
                                min64(t->rows - row, 2));
}

static const NAMED(nchw_block_fn) *NAMED(nchw_short_blocks)(const correlation_t *c) {
    static const NAMED(nchw_block_fn) blocks[NCHW_ROWS] = {
        NAMED(nchw_short_any), NAMED(nchw_short_any), NAMED(nchw_short_any), NAMED(nchw_short_any),
        NAMED(nchw_short_any), NAMED(nchw_short_any), NAMED(nchw_short_any)};
    (void)c;
    return blocks;
}

#endif
#undef SHORT_TAPS
#undef SHORT_IS_COMMON
