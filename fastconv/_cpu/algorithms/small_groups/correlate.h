/* Forward and backward_input of small groups with filters of several groups as lanes.
 *
 *     result[p, f] = sum over j, t of  source[p*step + first + t*delta, group(f) * channels + j] * factors[t, j, f]
 *
 * A block is one vector of filters; what a band of its pixels reads is copied (panel.h). Its groups'
 * channel j is spread over the lanes of their filters: out of one vector of the source by a permutation, or, where the
 * whole block is of one group, by a broadcast. A tile is a run of pixels of one block; where taps are neighbours and
 * pixels are one or two of them apart, up to three taps share each spread vector. Taps outside a row are multiplied by
 * zeros, rows outside the source are left out: finite weights are a precondition. Layout: factors [block][1 + tap *
 * channel][lane], of which the first are the permutation for channel 0; the last block begins early rather than end
 * late, and so does the last tile of a row. Where rows are neighbours in memory, and not channels, panels and results
 * are transposed by squares; at other strides lanes are read and written one by one. Numerics: one chain of
 * multiply-adds per element; no block and no thread changes it. */
#define SMALL_GROUPS_PIXELS (TILE_ROWS > 8 ? 14 : 8)
#define SMALL_GROUPS_SOME 7
#define SMALL_GROUPS_FEW 4
#define SMALL_GROUPS_TAPS 3

/* How a channel comes to the lanes of its group. */
enum { NAMED(BROADCAST), NAMED(PERMUTED) };

typedef struct {
    const packed_phase_t *phase;
    const NAMED(small_groups_panel_t) *panel;
    const NAMED(small_groups_band_t) *band;
    const REAL *factors;
    REAL *result;       /* of the block's first filter and the band's first pixel */
    int64_t row_stride; /* of the result, as are those of pixels and lanes */
    int64_t pixel_stride;
    int64_t lane_stride;
} NAMED(small_groups_block_t);

static int NAMED(small_groups_how)(const correlation_t *c) {
    return c->filters % LANES == 0 ? NAMED(BROADCAST) : NAMED(PERMUTED);
}

/* Channel j of the vector at `from`, in the lanes of its group. */
ALWAYS_INLINE NAMED(vector) NAMED(spread)(const int how, const REAL *from, int64_t j, NAMED(lane_index) which) {
    return how == NAMED(BROADCAST) ? from[j] - (NAMED(vector)){0} : NAMED(shuffle_one)(NAMED(load)(from), which);
}

/* `taps` neighbours of a row of taps, the first of which reads `line` for the tile's first pixel; pixels are `spread`
 * taps apart, and those `apart` columns. */
ALWAYS_INLINE void NAMED(small_groups_taps)(NAMED(vector) *sum, const int how, const int pixels, const int taps,
                                            const int spread, const int64_t apart, const REAL *line, int64_t channels,
                                            const REAL *factors, int64_t tap_size, NAMED(lane_index) which) {
    for (int64_t j = 0; j < channels; j++, which += 1) {
        NAMED(vector) factor[SMALL_GROUPS_TAPS];
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) factor[t] = NAMED(load)(factors + t * tap_size + j * LANES);
#pragma GCC unroll 32
        for (int q = 0; q < (pixels - 1) * spread + taps; q++) {
            NAMED(vector) x = NAMED(spread)(how, line + q * apart * LANES, j, which);
            if (taps > 1) LOADED_ONCE(x);
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++)
                if (q >= t && (q - t) % spread == 0 && (q - t) / spread < pixels)
                    sum[(q - t) / spread] += x * factor[t];
        }
    }
}

/* Some pixels whose lanes are no neighbours. */
ONE_COPY void NAMED(store_lanes)(REAL *to, int64_t pixel_stride, int64_t lane_stride, const NAMED(vector) *pixel,
                                 int64_t pixels) {
    for (int64_t p = 0; p < pixels; p++, to += pixel_stride)
        for (int l = 0; l < LANES; l++) to[l * lane_stride] = pixel[p][l];
}

/* Taps [*begin, *end) of an axis read the source inside of its size for pixel `pixel`. */
static inline void NAMED(taps_inside)(const correlation_t *c, int axis, int64_t pixel, int64_t *begin, int64_t *end) {
    NAMED(clip)
    (pixel * c->step[axis] + c->first[axis], c->delta[axis], c->taps[axis], c->source_size[axis], begin, end);
}

/* `spread`: pixels are 1 or 2 neighbouring taps apart; 0: anything else. */
ALWAYS_INLINE void NAMED(small_groups_tile)(const int how, const int spread, const int pixels,
                                            const NAMED(small_groups_block_t) *b, int64_t h, int64_t pixel) {
    const correlation_t *c = &b->phase->correlation;
    const NAMED(small_groups_panel_t) *panel = b->panel;
    const int64_t size = c->channels * LANES, column = pixel * c->step[2] + c->first[2] - panel->first[2];
    REAL *result = b->result + (h - b->band->h) * b->row_stride + (pixel - b->band->w) * b->pixel_stride;
    NAMED(vector) sum[SMALL_GROUPS_PIXELS];
    NAMED(lane_index) which;
    int64_t slice, slices, top, bottom;
    memcpy(&which, b->factors, sizeof which);
#pragma GCC unroll 14
    for (int p = 0; p < pixels; p++) {
        sum[p] = (NAMED(vector)){0};
        __builtin_prefetch(result + p * b->pixel_stride + LANES - 1, 1);
    }
    NAMED(taps_inside)(c, 0, b->band->d, &slice, &slices);
    NAMED(taps_inside)(c, 1, h, &top, &bottom);
    for (; slice < slices; slice++)
        for (int64_t v = 0; v < panel->vectors; v++) {
            const int64_t plane = b->band->d * c->step[0] + c->first[0] + slice * c->delta[0];
            const int64_t channels = min64(c->channels - v * LANES, LANES);
            const REAL *line =
                NAMED(small_groups_line)(panel, plane, h * c->step[1] + c->first[1] + top * c->delta[1], v);
            const REAL *factors = b->factors + LANES + (slice * c->taps[1] + top) * c->taps[2] * size;
            factors += v * LANES * LANES;
            line += column * LANES;
            for (int64_t i = top; i < bottom; i++, line += c->delta[1] * panel->size[2] * LANES) {
                const REAL *at = line;
                for (int64_t left = c->taps[2], taps; left > 0; left -= taps) {
                    taps = spread > 0 ? NAMED(taps_together)(left) : 1;
                    if (spread > 0 && taps == 3)
                        NAMED(small_groups_taps)(sum, how, pixels, 3, spread, 1, at, channels, factors, size, which);
                    else if (spread > 0 && taps == 2)
                        NAMED(small_groups_taps)(sum, how, pixels, 2, spread, 1, at, channels, factors, size, which);
                    else
                        NAMED(small_groups_taps)(sum, how, pixels, 1, 1, c->step[2], at, channels, factors, size,
                                                 which);
                    factors += taps * size;
                    at += taps * c->delta[2] * LANES;
                }
            }
        }
    if (b->lane_stride != 1) {
        /* Of another array, so that the compiler keeps the sums in registers. */
        NAMED(vector) apart[SMALL_GROUPS_PIXELS];
#pragma GCC unroll 14
        for (int p = 0; p < pixels; p++) apart[p] = sum[p];
        NAMED(store_lanes)(result, b->pixel_stride, b->lane_stride, apart, pixels);
        return;
    }
#pragma GCC unroll 14
    for (int p = 0; p < pixels; p++) NAMED(store)(result + p * b->pixel_stride, sum[p]);
}

#define TILE(name, how, spread, pixels)                                                                                \
    static void NAMED(name)(const NAMED(small_groups_block_t) *b, int64_t h, int64_t pixel) {                          \
        NAMED(small_groups_tile)(how, spread, pixels, b, h, pixel);                                                    \
    }
#define TILES(name, how)                                                                                               \
    TILE(name##_many_apart, how, 0, SMALL_GROUPS_PIXELS)                                                               \
    TILE(name##_some_apart, how, 0, SMALL_GROUPS_SOME)                                                                 \
    TILE(name##_few_apart, how, 0, SMALL_GROUPS_FEW)                                                                   \
    TILE(name##_many_next, how, 1, SMALL_GROUPS_PIXELS)                                                                \
    TILE(name##_some_next, how, 1, SMALL_GROUPS_SOME)                                                                  \
    TILE(name##_few_next, how, 1, SMALL_GROUPS_FEW)                                                                    \
    TILE(name##_many_second, how, 2, SMALL_GROUPS_PIXELS)                                                              \
    TILE(name##_some_second, how, 2, SMALL_GROUPS_SOME)                                                                \
    TILE(name##_few_second, how, 2, SMALL_GROUPS_FEW)                                                                  \
    TILE(name##_one, how, 0, 1)
TILES(small_groups_broadcast, NAMED(BROADCAST))
TILES(small_groups_permuted, NAMED(PERMUTED))
#undef TILES
#undef TILE

/* [how][spread][many, some, few or one pixel] */
#define TILES(name)                                                                                                    \
    {                                                                                                                  \
        {NAMED(name##_many_apart), NAMED(name##_some_apart), NAMED(name##_few_apart), NAMED(name##_one)},              \
            {NAMED(name##_many_next), NAMED(name##_some_next), NAMED(name##_few_next), NAMED(name##_one)}, {           \
            NAMED(name##_many_second), NAMED(name##_some_second), NAMED(name##_few_second), NAMED(name##_one)          \
        }                                                                                                              \
    }
static void (*const NAMED(small_groups_tiles)[2][3][4])(const NAMED(small_groups_block_t) *, int64_t, int64_t) = {
    TILES(small_groups_broadcast),
    TILES(small_groups_permuted),
};
#undef TILES

/* One row of a block's band, pixels up to `end`. */
static void NAMED(small_groups_row)(const NAMED(small_groups_block_t) *b, int64_t h, int64_t end) {
    const correlation_t *c = &b->phase->correlation;
    const int64_t begin = b->band->w, spread = c->delta[2] == 1 && c->step[2] <= 2 ? c->step[2] : 0;
    static const int sizes[] = {SMALL_GROUPS_PIXELS, SMALL_GROUPS_SOME, SMALL_GROUPS_FEW, 1};
    for (int64_t pixel = begin, taken = 1; pixel < end; pixel += taken) {
        const int size = NAMED(next_tile)(sizes, end - pixel, end - begin, &taken);
        NAMED(small_groups_tiles)[NAMED(small_groups_how)(c)][spread][size](b, h, min64(pixel, end - taken));
    }
}

/* Elements of a block's factors. */
static int64_t NAMED(small_groups_size)(const correlation_t *c) { return (1 + tap_count(c) * c->channels) * LANES; }

/* Whether pixels of all phases together are neighbours in memory, in rows that follow each other, and channels are not.
 */
static int NAMED(results_are_transposed)(const small_groups_job_t *job) {
    const int64_t *stride = job->phases[0].correlation.result_stride;
    return job->transposed_pixels && stride[1] != 1 && stride[4] == job->apart[1] &&
           stride[3] >= job->apart[0] * job->result[1];
}

/* A band of one block in one phase; the rest of `b` is to be set. `transposed`: where the result of all phases goes,
 * [row][pixel][lane], `pitch` pixels a row, or NULL: where it belongs. */
static void NAMED(small_groups_phase)(const small_groups_job_t *job, NAMED(small_groups_block_t) *b, int64_t filter,
                                      REAL *transposed, int64_t pitch) {
    const correlation_t *c = &b->phase->correlation;
    const NAMED(small_groups_band_t) *band = b->band;
    const int64_t *stride = c->result_stride;
    const int64_t end = min64(band->w + band->columns, c->pixels[2]), last = min64(band->h + band->rows, c->pixels[1]);
    b->result = (REAL *)c->result + band->n * stride[0] + filter * stride[1] + band->d * stride[2] +
                band->h * stride[3] + band->w * stride[4];
    b->row_stride = stride[3];
    b->pixel_stride = stride[4];
    b->lane_stride = stride[1];
    if (transposed != NULL) {
        const int64_t offset = (REAL *)c->result - (REAL *)job->phases[0].correlation.result,
                      row = stride[3] / job->apart[0];
        b->result = transposed + (offset / row * pitch + offset % row) * LANES;
        b->row_stride = job->apart[0] * pitch * LANES;
        b->pixel_stride = job->apart[1] * LANES;
        b->lane_stride = 1;
    }
    for (int64_t h = band->h; h < last && band->w < end && band->d < c->pixels[0]; h++) {
        NAMED(small_groups_row)(b, h, end);
        if (!NAMED(epilogue_is_empty)(&b->phase->epilogue))
            NAMED(finish_pixels)(b->phase, b->result + (h - band->h) * b->row_stride, b->pixel_stride, b->lane_stride,
                                 filter, LANES, band->n, band->d, h, band->w, end);
    }
}

/* A band of one block whose results are transposed back. */
static void NAMED(transpose_results)(const small_groups_job_t *job, const NAMED(small_groups_band_t) *band,
                                     int64_t filter, const REAL *transposed, int64_t pitch) {
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t row = c->result_stride[3] / job->apart[0], h = band->h * job->apart[0], w = band->w * job->apart[1];
    const int64_t rows = min64(band->rows * job->apart[0], job->result[0] - h);
    REAL *result = (REAL *)c->result + band->n * c->result_stride[0] + filter * c->result_stride[1] +
                   band->d * c->result_stride[2] + h * row + w;
    if (row == pitch) {
        NAMED(transpose_back)(result, c->result_stride[1], transposed, rows * pitch);
        return;
    }
    for (int64_t i = 0; i < rows; i++, result += row, transposed += pitch * LANES)
        NAMED(transpose_back)(result, c->result_stride[1], transposed, pitch);
}

/* One item: a part of the filters for a band of one plane in all phases. */
static void NAMED(correlate)(const void *data, int64_t item, void *scratch) {
    const small_groups_job_t *job = (const small_groups_job_t *)data;
    const correlation_t *first = &job->phases[0].correlation;
    const int64_t part = item % job->parts, across = div_up(first->pixels[2], job->columns),
                  bands = small_groups_bands(job);
    const int64_t column = item / job->parts % across, plane = item / job->parts / across / bands;
    const int64_t blocks = div_up(first->groups * first->filters, LANES);
    NAMED(small_groups_band_t)
    band = {.n = plane / first->pixels[0],
            .d = plane % first->pixels[0],
            .h = item / job->parts / across % bands * job->band,
            .w = column * job->columns};
    band.rows = min64(job->band, first->pixels[1] - band.h);
    band.columns = min64(job->columns, first->pixels[2] - band.w);
    const int64_t pitch = min64(band.columns * job->apart[1], job->result[1] - band.w * job->apart[1]);
    REAL *transposed = NAMED(results_are_transposed)(job) ? (REAL *)scratch : NULL;
    const NAMED(small_groups_panel_t) panel =
        NAMED(small_groups_panel)(first, &job->reach, &band, (REAL *)scratch + job->transposed_pixels * LANES);
    for (int64_t block = part * blocks / job->parts; block < (part + 1) * blocks / job->parts; block++) {
        const int64_t filter = NAMED(small_groups_filter)(first, block);
        NAMED(fill_grouped_panel)(first, &panel, band.n, block);
        for (int64_t i = 0; i < job->phase_count; i++) {
            const correlation_t *c = &job->phases[i].correlation;
            NAMED(small_groups_block_t)
            b = {.phase = &job->phases[i],
                 .panel = &panel,
                 .band = &band,
                 .factors = (const REAL *)job->phases[i].factors + block * NAMED(small_groups_size)(c)};
            NAMED(small_groups_phase)(job, &b, filter, transposed, pitch);
        }
        if (transposed != NULL) NAMED(transpose_results)(job, &band, filter, transposed, pitch);
    }
}

/* A block's weights, [tap * channel][lane], where the lines of its filters are as far apart as each other and in the
 * order channel, tap. `behind`: elements of the array behind the last of these lines. */
static void NAMED(small_groups_pack_lines)(const correlation_t *c, const REAL *lines, int64_t behind, REAL *to) {
    const int64_t taps = tap_count(c), count = c->channels * taps;
    int64_t slot[8 * LANES];
    for (int64_t first = 0, size; first < count; first += size) {
        const int64_t begin = max64(min64(first, count - LANES), 0); /* rather early than to end late */
        size = min64(count - begin, 8 * LANES);
        for (int64_t i = 0; i < size; i++) slot[i] = (begin + i) % taps * c->channels + (begin + i) / taps;
        NAMED(transpose_lines)(lines + begin, c->weight_stride[0], LANES, size, size + behind, slot, to);
        size -= first - begin;
    }
}

/* The permutation and the weights of one block. */
static void NAMED(pack_weight)(const void *data, int64_t item, void *scratch) {
    const packed_phase_t *phase = (const packed_phase_t *)data;
    const correlation_t *c = &phase->correlation;
    const int64_t filter = NAMED(small_groups_filter)(c, item), base = NAMED(small_groups_channel)(c, filter);
    const int64_t taps = tap_count(c), count = taps * c->channels;
    const int dense = c->weight_group_stride == c->filters * c->weight_stride[0],
              even = c->filters % LANES == 0 || dense;
    const int64_t behind = dense && c->weight_stride[0] == count ? c->groups * c->filters - filter - LANES : 0;
    REAL *to = (REAL *)phase->factors + item * NAMED(small_groups_size)(c);
    NAMED(lane_index) which;
    NAMED(vector) check = {0};
    int64_t offset[LANES];
    (void)scratch;
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t group = (filter + l) / c->filters;
        which[l] = group * c->channels - base;
        offset[l] = group * c->weight_group_stride + (filter + l) % c->filters * c->weight_stride[0];
    }
    memcpy(to, &which, sizeof which);
    to += LANES;
    if (even && taps_are_dense(c) && c->weight_stride[1] == taps)
        NAMED(small_groups_pack_lines)(c, (const REAL *)c->weight + offset[0], behind * count, to);
    else
        for (int64_t i = 0; i < count; i++) {
            const int64_t tap = i / c->channels, j = i % c->channels;
            const REAL *weight = (const REAL *)c->weight + tap / c->taps[2] / c->taps[1] * c->weight_stride[2] +
                                 tap / c->taps[2] % c->taps[1] * c->weight_stride[3] +
                                 tap % c->taps[2] * c->weight_stride[4] + j * c->weight_stride[1];
            for (int64_t l = 0; l < LANES; l++) to[i * LANES + l] = weight[offset[l]];
        }
    for (int64_t i = 0; i < count; i++) check += NAMED(load)(to + i * LANES) * 0;
    for (int64_t l = 0; l < LANES; l++)
        if (!(check[l] == 0)) *phase->spoiled = 1;
}
#undef SMALL_GROUPS_PIXELS
#undef SMALL_GROUPS_SOME
#undef SMALL_GROUPS_FEW
