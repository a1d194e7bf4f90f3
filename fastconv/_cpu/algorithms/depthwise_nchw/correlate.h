/* Depthwise forward and backward_input on images whose rows are neighbours in memory, read where they lie.
 *
 *     result[c, p] = sum over t of  source[c, p*step + first + t] * factors[c, t]
 *
 * A tile is up to NCHW_ROWS rows of pixels of one vector along the width: for one width tap after the other a source
 * row is loaded once and meets all height taps, whose weights are in registers. Two stride phases of backward_input,
 * which own every second element of a row, are summed side by side and stored as one.
 *
 * Rows of the source outside of it are read from a row of zeros. Vectors reach beyond the ends of a row: lanes outside
 * are cleared once loaded. A band from whose rows they would reach beyond the array is copied first, and so are
 * columns at strides. The last vector of a row begins early rather than end late. Preconditions: step 1 or 2, the same
 * on both axes, delta 1, one slice. Numerics: one chain per element over the width taps and their height taps. */
#define MASK NAMED(lane_index)

/* Rows of a plane: row i begins at base + i*pitch, or is one of zeros. */
typedef struct {
    const REAL *base;
    int64_t pitch;
    int64_t height;
    const REAL *zeros;
} NAMED(plane_t);

ALWAYS_INLINE const REAL *NAMED(plane_row)(const NAMED(plane_t) *plane, int64_t i) {
    return (uint64_t)i < (uint64_t)plane->height ? plane->base + i * plane->pitch : plane->zeros;
}

/* The memory from the first to the last element of an array. */
typedef struct {
    const REAL *low;
    const REAL *high;
} NAMED(extent_t);

static NAMED(extent_t)
    NAMED(extent_of)(const char *base, const int64_t *stride, const correlation_t *c, const int64_t *size) {
    const int64_t sizes[5] = {c->batch, c->groups, size[0], size[1], size[2]};
    NAMED(extent_t) extent = {(const REAL *)base, (const REAL *)base + 1};
    for (int axis = 0; axis < 5; axis++) {
        extent.low += min64((sizes[axis] - 1) * stride[axis], 0);
        extent.high += max64((sizes[axis] - 1) * stride[axis], 0);
    }
    return extent;
}

/* Rows [begin, end) of a plane with strides `stride` (h, w) of an array that lies in `extent`: `before` and `after`
 * elements around each row may be read. Where they may not, or where the rows of a tile would all lie in the same sets
 * of a first-level cache, they are copied to `copy`, `pitch` apart. */
static NAMED(plane_t) NAMED(plane_at)(const REAL *base, const int64_t *stride, const int64_t *size,
                                      const NAMED(extent_t) *extent, int64_t before, int64_t after, int64_t begin,
                                      int64_t end, REAL *copy, int64_t pitch, const REAL *zeros) {
    NAMED(plane_t) plane = {base, stride[0], size[0], zeros};
    begin = max64(begin, 0);
    end = min64(end, size[0]);
    if (begin >= end) return plane;
    /* Of a negative stride the last row is the first in memory. */
    const int64_t first = min64(begin * stride[0], (end - 1) * stride[0]);
    const int64_t last = max64(begin * stride[0], (end - 1) * stride[0]) + size[1];
    if (stride[1] == 1 && stride[0] * REAL_BYTES % NCHW_SETS != 0 && before <= base + first - extent->low &&
        after <= extent->high - (base + last))
        return plane;
    NAMED(copy_rows)(copy + before, pitch, base + begin * stride[0], stride[0], stride[1], size[1], end - begin);
    plane.base = copy + before - begin * pitch;
    plane.pitch = pitch;
    return plane;
}

/* First pixel of vector v of a row of `pixels`. */
ALWAYS_INLINE int64_t NAMED(column)(int64_t v, int64_t pixels) { return min64(v * LANES, max64(pixels - LANES, 0)); }

/* For every vector of a row where its masks are: one per width tap, of the lanes that read a source column. With `once`
 * lanes of pixels that the vector before has, too, do not count, and one more mask says which do. The vectors that all
 * taps find inside share theirs. */
static void NAMED(make_masks)(const correlation_t *c, int once, MASK *masks, const MASK **columns) {
    const int64_t pixels = c->pixels[2], step = c->step[2], taps = c->taps[2], per_vector = taps + once;
    const MASK *shared = NULL;
    for (int64_t v = 0; v < div_up(pixels, LANES); v++) {
        const int64_t at = NAMED(column)(v, pixels), left = at * step + c->first[2];
        const int64_t skip = once ? v * LANES - at : 0, count = min64(pixels - at, LANES);
        const int whole = skip == 0 && (count == LANES || !once) && left >= 0 &&
                          left + (LANES - 1) * step + taps <= c->source_size[2];
        columns[v] = whole && shared != NULL ? shared : masks;
        if (whole && shared != NULL) continue;
        if (whole) shared = masks;
        for (int64_t t = 0; t < per_vector; t++, masks++)
            for (int64_t l = 0; l < LANES; l++) {
                const int64_t from = left + l * step + t;
                const int counts = l >= skip && (l < count || !once);
                (*masks)[l] = counts && (t == taps || (from >= 0 && from < c->source_size[2])) ? -1 : 0;
            }
    }
}

/* A vector of every `step`-th element. */
ALWAYS_INLINE NAMED(vector) NAMED(load_step)(const REAL *from, const int step, MASK mask) {
    const NAMED(vector) x = step == 1 ? NAMED(load)(from) : NAMED(load_second)(from);
    return (NAMED(vector))((MASK)x & mask);
}

typedef struct {
    int64_t first; /* source column of pixel 0 and width tap 0 */
    int64_t taps;  /* width taps */
    const MASK *const *columns;
    const REAL *factors;
} NAMED(side_t);

/* An epilogue short enough for sums that are still in registers: sum + bias, or min(max(sum + bias, 0), high). */
typedef struct {
    int is_all; /* of the epilogue */
    int is_none, limits;
    REAL bias, high;
} NAMED(clamp_t);

static NAMED(clamp_t) NAMED(clamp_of)(const epilogue_t *e, int64_t channel) {
    const int limits = e->activation == ACTIVATION_RELU || e->activation == ACTIVATION_RELU6;
    return (NAMED(clamp_t)){.is_all = e->add == NULL && (limits || e->activation == ACTIVATION_NONE),
                            .is_none = NAMED(epilogue_is_empty)(e),
                            .limits = limits,
                            .bias = e->bias == NULL ? (REAL)-0.0 : ((const REAL *)e->bias)[channel],
                            .high = e->activation == ACTIVATION_RELU6 ? 6 : (REAL)INFINITY};
}

ALWAYS_INLINE void NAMED(clamp_vectors)(const NAMED(clamp_t) *clamp, NAMED(vector) *v, const int count) {
    const NAMED(vector) low = {0}, high = NAMED(splat)(clamp->high);
    if (clamp->is_none || !clamp->is_all) return;
#pragma GCC unroll 16
    for (int i = 0; i < count; i++) v[i] += clamp->bias;
    if (!clamp->limits) return;
#pragma GCC unroll 16
    for (int i = 0; i < count; i++) v[i] = NAMED(at_most)(high, NAMED(at_least)(low, v[i]));
}

typedef struct {
    const nchw_job_t *job;
    const correlation_t *correlation; /* of side 0 */
    const epilogue_t *epilogue;
    NAMED(clamp_t) clamp;   /* of the channel */
    NAMED(extent_t) extent; /* of the source */
    NAMED(plane_t) plane;
    NAMED(side_t) side[2];
    const struct NAMED(short_rows) *short_rows;
    int64_t width; /* elements of a row of results */
    int64_t rows;  /* of the tile */
    REAL *result;  /* row 0 of the plane, or of `job->band` rows on their way */
    int64_t result_row;
} NAMED(nchw_turn_t);

/* `rows` rows of one vector at pixel `at`; `line`: the source rows that they read. */
ALWAYS_INLINE void NAMED(sum_tile)(NAMED(vector) *sum, const int rows, const int taps, const int step,
                                   const NAMED(side_t) *side, const REAL *const *line, int64_t at, const MASK *mask) {
    const REAL *factors = side->factors;
    at = at * step + side->first;
    for (int64_t s = 0; s < side->taps; s++, at++, factors += taps) {
        const MASK keep = mask[s];
        NAMED(vector) factor[NCHW_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < taps; r++) factor[r] = factors[r] - (NAMED(vector)){0};
#pragma GCC unroll 32
        for (int i = 0; i < (rows - 1) * step + taps; i++) {
            const NAMED(vector) x = NAMED(load_step)(line[i] + at, step, keep);
#pragma GCC unroll 8
            for (int a = 0; a < rows; a++)
                if (i - a * step >= 0 && i - a * step < taps) sum[a] += x * factor[i - a * step];
        }
    }
}

/* Asks for the rows that follow `rows` rows of some vectors, at least NCHW_AHEAD bytes on: each row is a stream of
 * its own, and too short for the hardware to foresee. */
ALWAYS_INLINE void NAMED(prefetch_rows)(const REAL *from, int64_t pitch, const int rows, const int vectors,
                                        const int to_store) {
    const int64_t ahead = max64(rows * pitch, NCHW_AHEAD / REAL_BYTES);
    for (int a = 0; a < rows; a++)
        for (int v = 0; v < vectors; v++)
            if (to_store)
                __builtin_prefetch(from + ahead + a * pitch + v * LANES, 1);
            else
                __builtin_prefetch(from + ahead + a * pitch + v * LANES, 0);
}

/* Stores what of the `vectors` vectors of each row of a tile is in the first `left` elements: one copy of this code for
 * all tiles. */
ONE_COPY void NAMED(store_tile_end)(REAL *to, int64_t pitch, const NAMED(vector) *row, int64_t rows, int64_t vectors,
                                    int64_t left) {
    for (int64_t v = 0; v < vectors; v++, to += LANES, left -= LANES) {
        MASK last;
        for (int i = 0; i < LANES; i++) last[i] = i;
        last += (__typeof__(last[0]))(left - NAMED(store_part)(left));
        for (int64_t a = 0; a < rows; a++) NAMED(store_some)(to + a * pitch, row[a * vectors + v], left, last);
    }
}

/* The same, where the last vectors are whole or at least halves without a call. */
ALWAYS_INLINE void NAMED(store_tile)(REAL *to, int64_t pitch, const NAMED(vector) *row, const int rows,
                                     const int vectors, int64_t left) {
    const int64_t last = left - (vectors - 1) * LANES;
    if (last < LANES / 2) {
        /* Of another array, so that the compiler keeps `row` in registers. */
        NAMED(vector) end[2 * NCHW_ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < rows * vectors; i++) end[i] = row[i];
        NAMED(store_tile_end)(to, pitch, end, rows, vectors, left);
        return;
    }
    MASK upper;
    for (int i = 0; i < LANES; i++) upper[i] = i - LANES / 2;
    upper += (__typeof__(upper[0]))last; /* one instruction, unlike a loop over lanes that are not constant */
#pragma GCC unroll 8
    for (int a = 0; a < rows; a++, to += pitch, row += vectors) {
        REAL *at = to + (vectors - 1) * LANES;
        if (vectors == 2) NAMED(store)(to, row[0]);
        if (last < LANES) {
            const NAMED(vector) high = NAMED(shuffle_one)(row[vectors - 1], upper);
            memcpy(at, &row[vectors - 1], LANES / 2 * sizeof *at);
            memcpy(at + last - LANES / 2, &high, LANES / 2 * sizeof *at);
        } else {
            NAMED(store)(at, row[vectors - 1]);
        }
    }
}

/* `rows` rows of pixels from h on, all vectors of them. */
ALWAYS_INLINE void NAMED(nchw_block)(const int rows, const int taps, const int step, const int sides,
                                     const NAMED(nchw_turn_t) *t, int64_t h) {
    const int lines = (rows - 1) * step + taps;
    const correlation_t *c = t->correlation;
    const REAL *line[3 * NCHW_ROWS];
    const int64_t pixels = c->pixels[2], width = t->width;
    MASK low, high;
    for (int i = 0; i < LANES; i++) {
        low[i] = i / 2 + i % 2 * LANES;
        high[i] = low[i] + LANES / 2;
    }
    for (int i = 0; i < lines; i++) line[i] = NAMED(plane_row)(&t->plane, h * step + c->first[1] + i);
    const REAL *last_line = t->plane.base + (h * step + c->first[1] + taps - 1) * t->plane.pitch;
    for (int64_t v = 0; v * LANES < pixels; v++) {
        const int64_t at = NAMED(column)(v, pixels);
        NAMED(vector) sum[2][NCHW_ROWS];
#pragma GCC unroll 2
        for (int k = 0; k < sides; k++) {
#pragma GCC unroll 8
            for (int a = 0; a < rows; a++) sum[k][a] = (NAMED(vector)){0};
            NAMED(sum_tile)(sum[k], rows, taps, step, &t->side[k], line, at, t->side[k].columns[v]);
        }
        REAL *to = t->result + h * t->result_row + at * sides;
        NAMED(prefetch_rows)(last_line + at * step, t->plane.pitch, rows * step, step, 0);
        NAMED(prefetch_rows)(to, t->result_row, rows, sides, 1);
        const int64_t left = width - at * sides;
        NAMED(vector) row[2 * NCHW_ROWS];
#pragma GCC unroll 8
        for (int a = 0; a < rows; a++) {
            row[a * sides] = sides == 1 ? sum[0][a] : NAMED(shuffle)(sum[0][a], sum[1][a], low);
            if (sides == 2) row[a * sides + 1] = NAMED(shuffle)(sum[0][a], sum[1][a], high);
        }
        NAMED(clamp_vectors)(&t->clamp, row, rows * sides);
        NAMED(store_tile)(to, t->result_row, row, rows, sides, left);
    }
}

typedef void (*NAMED(nchw_block_fn))(const NAMED(nchw_turn_t) *t, int64_t h);

#define BLOCK(name, rows, taps, step, sides)                                                                           \
    static void NAMED(name##_##rows)(const NAMED(nchw_turn_t) *t, int64_t h) {                                         \
        NAMED(nchw_block)(rows, taps, step, sides, t, h);                                                              \
    }
/* A BLOCK for each number of rows, by rows less one. */
#define BLOCKS(function, name, ...)                                                                                    \
    BLOCK(name, 3, __VA_ARGS__)                                                                                        \
    BLOCK(name, 5, __VA_ARGS__)                                                                                        \
    BLOCK(name, 6, __VA_ARGS__)                                                                                        \
    FEW_BLOCKS(function, name, NAMED(name##_3), NAMED(name##_5), NAMED(name##_6), __VA_ARGS__)
/* Those of 1, 2, 4 and 7 rows, beside the others' functions or NULL. */
#define FEW_BLOCKS(function, name, three, five, six, ...)                                                              \
    BLOCK(name, 1, __VA_ARGS__)                                                                                        \
    BLOCK(name, 2, __VA_ARGS__)                                                                                        \
    BLOCK(name, 4, __VA_ARGS__)                                                                                        \
    BLOCK(name, 7, __VA_ARGS__)                                                                                        \
    static const NAMED(function) NAMED(name)[NCHW_ROWS] = {                                                            \
        NAMED(name##_1), NAMED(name##_2), three, NAMED(name##_4), five, six, NAMED(name##_7)};
/* Rows of the next tile when `left` are to be computed; of float64 fewer numbers have code, and no sum depends on it.
 */
#if REAL_BYTES == 4
#define TILE_BLOCKS(function, name, ...) BLOCKS(function, name, __VA_ARGS__)
static inline int64_t NAMED(tile_height)(int64_t left) { return nchw_height(left); }
#else
#define TILE_BLOCKS(function, name, ...) FEW_BLOCKS(function, name, NULL, NULL, NULL, __VA_ARGS__)
static inline int64_t NAMED(tile_height)(int64_t left) {
    if (left >= NCHW_ROWS) return left % NCHW_ROWS % 2 == 0 ? NCHW_ROWS : 4;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}
#endif
TILE_BLOCKS(nchw_block_fn, nchw_3, 3, 1, 1)
TILE_BLOCKS(nchw_block_fn, nchw_5, 5, 1, 1)
TILE_BLOCKS(nchw_block_fn, nchw_7, 7, 1, 1)
TILE_BLOCKS(nchw_block_fn, nchw_3_strided, 3, 2, 1)
TILE_BLOCKS(nchw_block_fn, nchw_5_strided, 5, 2, 1)
TILE_BLOCKS(nchw_block_fn, nchw_7_strided, 7, 2, 1)
TILE_BLOCKS(nchw_block_fn, nchw_1_spread, 1, 1, 2)
TILE_BLOCKS(nchw_block_fn, nchw_2_spread, 2, 1, 2)
TILE_BLOCKS(nchw_block_fn, nchw_3_spread, 3, 1, 2)
TILE_BLOCKS(nchw_block_fn, nchw_4_spread, 4, 1, 2)
#undef BLOCK
/* BLOCKS goes on in weight.h, with another BLOCK. */
#include "short.h"

static const NAMED(nchw_block_fn) *NAMED(nchw_blocks)(const nchw_job_t *job, const correlation_t *c) {
    static const NAMED(nchw_block_fn) *const spread[] = {NAMED(nchw_1_spread), NAMED(nchw_2_spread),
                                                         NAMED(nchw_3_spread), NAMED(nchw_4_spread)};
    if (job->sides == 2) return spread[c->taps[1] - 1];
    if (NAMED(rows_are_short)(job, c)) return NAMED(nchw_short_blocks)(c);
    switch (c->taps[1]) {
    case 3: return c->step[1] == 1 ? NAMED(nchw_3) : NAMED(nchw_3_strided);
    case 5: return c->step[1] == 1 ? NAMED(nchw_5) : NAMED(nchw_5_strided);
    default: return c->step[1] == 1 ? NAMED(nchw_7) : NAMED(nchw_7_strided);
    }
}

/* The weights of one channel as the tile reads them. */
static void NAMED(nchw_factors)(const correlation_t *c, int64_t channel, REAL *to) {
    const REAL *weight = (const REAL *)c->weight + channel * c->weight_group_stride;
    for (int64_t s = 0; s < c->taps[2]; s++)
        for (int64_t r = 0; r < c->taps[1]; r++) *to++ = weight[r * c->weight_stride[3] + s * c->weight_stride[4]];
}

/* Epilogue of rows [h, h + rows), and from scratch into the result. */
static void NAMED(nchw_finish)(const NAMED(nchw_turn_t) *t, int64_t n, int64_t channel, int64_t h, int64_t rows) {
    const epilogue_t *e = t->epilogue;
    const correlation_t *c = t->correlation;
    const int64_t sides = t->job->sides, stride = c->result_stride[4] / sides;
    const REAL *add = (const REAL *)e->add;
    if (add != NULL) add += n * e->add_stride[0] + channel * e->add_stride[1] + h * e->add_stride[3];
    const NAMED(finish_t) finished = {.rows = rows,
                                      .count = t->width,
                                      .result = t->result + h * t->result_row,
                                      .row_stride = t->result_row,
                                      .stride = 1,
                                      .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + channel,
                                      .add = add,
                                      .add_row_stride = e->add_stride[3],
                                      .add_stride = e->add_stride[4] / sides};
    if (!t->clamp.is_all) NAMED(finish_rows)(e, &finished);
    if (stride == 1) return;
    REAL *result = (REAL *)c->result + n * c->result_stride[0] + channel * c->result_stride[1];
    NAMED(spread_rows)(result + h * c->result_stride[3], c->result_stride[3], stride, 0, t->result + h * t->result_row,
                       t->result_row, t->width, rows);
}

/* Rows [begin, end) of pixels of one channel of one image, in all phases. */
static void NAMED(nchw_channel)(NAMED(nchw_turn_t) *t, int64_t n, int64_t channel, int64_t begin, int64_t end,
                                char *memory) {
    const nchw_job_t *job = t->job;
    for (int64_t phase = 0; phase < job->row_phases; phase++) {
        const correlation_t *c = t->correlation = &job->phases[phase * job->sides].correlation;
        t->epilogue = &job->phases[phase * job->sides].epilogue;
        t->clamp = NAMED(clamp_of)(t->epilogue, channel);
        const int64_t last = min64(end, c->pixels[1]);
        if (begin >= last) continue;
        REAL *factors = (REAL *)(memory + job->factors_at);
        for (int64_t k = 0; k < job->sides; k++) {
            const correlation_t *side = &job->phases[phase * job->sides + k].correlation;
            NAMED(nchw_factors)(side, channel, factors);
            t->side[k].factors = factors;
            factors += side->taps[1] * side->taps[2];
        }
        t->plane = NAMED(plane_at)((const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1],
                                   c->source_stride + 3, c->source_size + 1, &t->extent, job->before, job->after,
                                   begin * c->step[1] + c->first[1], (last - 1) * c->step[1] + c->first[1] + c->taps[1],
                                   (REAL *)(memory + job->source_at), job->pitch, (const REAL *)memory + job->before);
        t->result = (REAL *)c->result + n * c->result_stride[0] + channel * c->result_stride[1];
        t->result_row = c->result_stride[3];
        if (c->result_stride[4] != job->sides) {
            t->result_row = t->width;
            t->result = (REAL *)(memory + job->gradient_at) - begin * t->result_row;
        }
        const NAMED(nchw_block_fn) *blocks = NAMED(nchw_blocks)(job, c);
        for (int64_t h = begin, height; h < last; h += height) {
            t->rows = height = NAMED(tile_height)(last - h);
            blocks[height - 1](t, h);
            NAMED(nchw_finish)(t, n, channel, h, height);
        }
    }
}

/* One item: a band of rows of some channels of one image. */
static void NAMED(correlate)(const void *data, int64_t item, void *scratch) {
    const nchw_job_t *job = (const nchw_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t bands = nchw_bands(job), blocks = div_up(c->groups, job->block), n = item / bands / blocks;
    const int64_t begin = item % bands * job->band, first = item / bands % blocks * job->block;
    char *memory = (char *)scratch;
    NAMED(short_rows_t) short_rows;
    NAMED(nchw_turn_t)
    t = {.job = job,
         .extent = NAMED(extent_of)(c->source, c->source_stride, c, c->source_size),
         .short_rows = &short_rows};
    if (NAMED(rows_are_short)(job, c)) NAMED(make_short_rows)(c, &short_rows);
    for (int64_t i = 0; i < job->pitch; i++) ((REAL *)memory)[i] = 0;
    MASK *masks = (MASK *)(memory + job->masks_at);
    const MASK **columns = (const MASK **)(memory + job->columns_at);
    for (int64_t k = 0; k < job->sides; k++) {
        /* Both sides take the pixels of the first, which has one more where the width is odd. */
        correlation_t side = job->phases[k].correlation;
        side.pixels[2] = c->pixels[2];
        t.width += job->phases[k].correlation.pixels[2];
        NAMED(make_masks)(&side, 0, masks, columns);
        t.side[k] = (NAMED(side_t)){.first = side.first[2], .taps = side.taps[2], .columns = columns};
        columns += div_up(c->pixels[2], LANES);
        masks += div_up(c->pixels[2], LANES) * side.taps[2];
    }
    for (int64_t channel = first; channel < min64(first + job->block, c->groups); channel++)
        NAMED(nchw_channel)(&t, n, channel, begin, begin + job->band, memory);
}
