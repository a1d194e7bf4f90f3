/* Forward and backward_input of small groups with filters of several groups as lanes, read and written where they lie.
 *
 *     result[p, f] = sum over j, t of  source[p*step + first + t*delta, group(f) * channels + j] * factors[t, j, f]
 *
 * A block is one vector of filters. Its groups' channel j is spread over the lanes of their filters: out of one vector
 * of the source by a permutation, or, where the whole block is of one group, by a broadcast. A tile is a run of pixels
 * of one block; where neighbouring pixels are as far apart as taps are, or twice as far, up to three taps share each
 * spread vector. Taps
 * outside a row are multiplied by zeros, rows outside the source are left out: finite weights are a precondition.
 * Layout: factors [block][1 + tap * channel][lane], of which the first are the permutation for channel 0; the last
 * block begins early rather than end late, and so does the last tile of a row. At strides other than 1 between channels
 * lanes are read and written one by one. Numerics: one chain of multiply-adds per element; no block and no thread
 * changes it. */
#define GROUPED_PIXELS (TILE_ROWS > 8 ? 12 : 8)
#define GROUPED_SOME 7
#define GROUPED_FEW 4
#define GROUPED_TAPS 3

/* How a channel comes to the lanes of its group. */
enum { NAMED(BROADCAST), NAMED(PERMUTED), NAMED(SINGLY) };

/* What taps outside the source read. */
static const REAL NAMED(grouped_zeros)[GROUPED_CHANNELS];

typedef struct {
    NAMED(depthwise_image_t) image; /* source and result: at the block's first channel and filter */
    const REAL *factors;
} NAMED(grouped_block_t);

ALWAYS_INLINE NAMED(vector)
    NAMED(spread)(const int how, const correlation_t *c, const REAL *from, int64_t j, NAMED(lane_index) which) {
    NAMED(vector) to = {0};
    if (how == NAMED(BROADCAST)) return from[j] - to;
    if (how == NAMED(PERMUTED)) return __builtin_shuffle(NAMED(load)(from), which);
    for (int l = 0; l < LANES && from != NAMED(grouped_zeros); l++) to[l] = from[which[l] * c->source_stride[1]];
    return to;
}

/* `taps` neighbours of a row of taps, the first of which reads column `column` of `line` for the tile's first pixel;
 * pixels are `spread` taps apart. */
ALWAYS_INLINE void NAMED(grouped_taps)(NAMED(vector) *sum, const int how, const int pixels, const int taps,
                                       const int spread, const correlation_t *c, const REAL *line, int64_t column,
                                       const REAL *factors, NAMED(lane_index) which) {
    const int64_t apart = taps > 1 ? c->delta[2] : c->step[2];
    const int columns = (pixels - 1) * spread + taps;
    const REAL *at[2 * GROUPED_PIXELS + GROUPED_TAPS];
#pragma GCC unroll 26
    for (int q = 0; q < columns; q++, column += apart)
        at[q] = column >= 0 && column < c->source_size[2] ? line + column * c->source_stride[4] : NAMED(grouped_zeros);
    for (int64_t j = 0; j < c->channels; j++, which += 1) {
        NAMED(vector) factor[GROUPED_TAPS];
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) factor[t] = NAMED(load)(factors + (t * c->channels + j) * LANES);
#pragma GCC unroll 26
        for (int q = 0; q < columns; q++) {
            NAMED(vector) x = NAMED(spread)(how, c, at[q], j, which);
            LOADED_ONCE(x);
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++)
                if (q >= t && (q - t) % spread == 0 && (q - t) / spread < pixels)
                    sum[(q - t) / spread] += x * factor[t];
        }
    }
}

ALWAYS_INLINE void NAMED(grouped_tile)(const int how, const int pixels, const NAMED(grouped_block_t) *b, int64_t h,
                                       int64_t pixel) {
    const NAMED(depthwise_image_t) *m = &b->image;
    const correlation_t *c = &m->phase->sum;
    const int next = pixels > 1 && c->step[2] == c->delta[2], second = pixels > 1 && c->step[2] == 2 * c->delta[2];
    const int64_t size = c->channels * LANES, column = pixel * c->step[2] + c->first[2];
    NAMED(vector) sum[GROUPED_PIXELS];
    NAMED(lane_index) which;
    memcpy(&which, b->factors, sizeof which);
    if (pixels > 1 && max64(c->step[1], c->step[2]) <= 4) NAMED(depthwise_prefetch)(1, pixels, 1, m, h, pixel, 0);
#pragma GCC unroll 12
    for (int p = 0; p < pixels; p++) {
        sum[p] = (NAMED(vector)){0};
        __builtin_prefetch(m->result + h * c->result_stride[3] + (pixel + p) * c->result_stride[4] + LANES - 1, 1);
    }
    for (int64_t slice = 0; slice < c->taps[0]; slice++) {
        const int64_t d = m->d * c->step[0] + c->first[0] + slice * c->delta[0];
        if (d < 0 || d >= c->source_size[0]) continue;
        for (int64_t i = 0; i < c->taps[1]; i++) {
            const int64_t row = h * c->step[1] + c->first[1] + i * c->delta[1];
            if (row < 0 || row >= c->source_size[1]) continue;
            const REAL *line = m->source + d * c->source_stride[2] + row * c->source_stride[3];
            const REAL *factors = b->factors + LANES + (slice * c->taps[1] + i) * c->taps[2] * size;
#define TAPS(taps, spread)                                                                                             \
    NAMED(grouped_taps)(sum, how, pixels, taps, spread, c, line, column + t * c->delta[2], factors + t * size, which)
            for (int64_t t = 0, taps; t < c->taps[2]; t += taps) {
                taps = next || second ? NAMED(taps_together)(c->taps[2] - t) : 1;
                if (second && taps == 3)
                    TAPS(3, 2);
                else if (second && taps == 2)
                    TAPS(2, 2);
                else if (taps == 3)
                    TAPS(3, 1);
                else if (taps == 2)
                    TAPS(2, 1);
                else
                    TAPS(1, 1);
            }
#undef TAPS
        }
    }
#pragma GCC unroll 12
    for (int p = 0; p < pixels; p++) {
        REAL *to = m->result + h * c->result_stride[3] + (pixel + p) * c->result_stride[4];
        if (how != NAMED(SINGLY))
            NAMED(store)(to, sum[p]);
        else
            for (int l = 0; l < LANES; l++) to[l * c->result_stride[1]] = sum[p][l];
    }
}

#define TILE(name, how, pixels)                                                                                        \
    static void NAMED(name)(const NAMED(grouped_block_t) *b, int64_t h, int64_t pixel) {                               \
        NAMED(grouped_tile)(how, pixels, b, h, pixel);                                                                 \
    }
TILE(grouped_broadcast_many, NAMED(BROADCAST), GROUPED_PIXELS)
TILE(grouped_broadcast_some, NAMED(BROADCAST), GROUPED_SOME)
TILE(grouped_broadcast_few, NAMED(BROADCAST), GROUPED_FEW)
TILE(grouped_broadcast_one, NAMED(BROADCAST), 1)
TILE(grouped_permuted_many, NAMED(PERMUTED), GROUPED_PIXELS)
TILE(grouped_permuted_some, NAMED(PERMUTED), GROUPED_SOME)
TILE(grouped_permuted_few, NAMED(PERMUTED), GROUPED_FEW)
TILE(grouped_permuted_one, NAMED(PERMUTED), 1)
TILE(grouped_singly_one, NAMED(SINGLY), 1)
#undef TILE

/* [how][many, some, few or one pixel] */
static void (*const NAMED(grouped_tiles)[3][4])(const NAMED(grouped_block_t) *, int64_t, int64_t) = {
    {NAMED(grouped_broadcast_many), NAMED(grouped_broadcast_some), NAMED(grouped_broadcast_few),
     NAMED(grouped_broadcast_one)},
    {NAMED(grouped_permuted_many), NAMED(grouped_permuted_some), NAMED(grouped_permuted_few),
     NAMED(grouped_permuted_one)},
    {NULL, NULL, NULL, NAMED(grouped_singly_one)},
};

static int NAMED(grouped_how)(const correlation_t *c) {
    if (c->source_stride[1] != 1 || c->result_stride[1] != 1) return NAMED(SINGLY);
    return c->filters % LANES == 0 ? NAMED(BROADCAST) : NAMED(PERMUTED);
}

/* One row of pixels of one block. */
static void NAMED(grouped_row)(const NAMED(grouped_block_t) *b, int64_t h) {
    const correlation_t *c = &b->image.phase->sum;
    const int how = NAMED(grouped_how)(c);
    const int64_t pixels = c->pixels[2];
    static const int sizes[] = {GROUPED_PIXELS, GROUPED_SOME, GROUPED_FEW, 1};
    for (int64_t pixel = 0, taken = 1; pixel < pixels; pixel += taken) {
        const int size = how == NAMED(SINGLY) ? 3 : NAMED(next_tile)(sizes, pixels - pixel, pixels, &taken);
        NAMED(grouped_tiles)[how][size](b, h, min64(pixel, pixels - taken));
    }
}

/* The first filter of a block, and the first channel of the source that is loaded for it. */
static int64_t NAMED(grouped_filter)(const correlation_t *c, int64_t block) {
    return min64(block * LANES, c->groups * c->filters - LANES);
}
static int64_t NAMED(grouped_channel)(const correlation_t *c, int64_t filter) {
    const int64_t channel = filter / c->filters * c->channels;
    return c->filters % LANES == 0 ? channel : min64(channel, c->groups * c->channels - LANES);
}

/* Elements of a block's factors. */
static int64_t NAMED(grouped_size)(const correlation_t *c) { return (1 + depthwise_taps(c) * c->channels) * LANES; }

/* One item: a band of rows of one plane in all phases, which share what they read and the lines that they write. */
static void NAMED(grouped_correlate)(const void *data, int64_t item, void *scratch) {
    const depthwise_job_t *job = (const depthwise_job_t *)data;
    const int64_t bands = depthwise_bands(job), plane = item / bands, first = item % bands * job->band;
    const int64_t planes = job->phases[0].sum.pixels[0], n = plane / planes, d = plane % planes;
    (void)scratch;
    for (int64_t i = 0; i < job->phase_count; i++) {
        const depthwise_phase_t *phase = &job->phases[i];
        const correlation_t *c = &phase->sum;
        const REAL *source = (const REAL *)c->source + n * c->source_stride[0];
        REAL *result = (REAL *)c->result + n * c->result_stride[0] + d * c->result_stride[2];
        const NAMED(depthwise_image_t) whole = {phase, source, NULL, result, c->groups * c->filters, d};
        if (d >= c->pixels[0]) continue;
        for (int64_t h = first; h < min64(first + job->band, c->pixels[1]); h++) {
            for (int64_t block = 0; block < div_up(whole.channels, LANES); block++) {
                const int64_t filter = NAMED(grouped_filter)(c, block);
                NAMED(grouped_block_t) b = {whole, (const REAL *)phase->factors + block * NAMED(grouped_size)(c)};
                b.image.source += NAMED(grouped_channel)(c, filter) * c->source_stride[1];
                b.image.result += filter * c->result_stride[1];
                NAMED(grouped_row)(&b, h);
            }
            if (!NAMED(epilogue_is_empty)(&phase->epilogue)) NAMED(depthwise_finish)(&whole, n, h);
        }
    }
}

/* The permutation and the weights of one block. */
static void NAMED(grouped_pack)(const void *data, int64_t item, void *scratch) {
    const depthwise_phase_t *phase = (const depthwise_phase_t *)data;
    const correlation_t *c = &phase->sum;
    const int64_t filter = NAMED(grouped_filter)(c, item), base = NAMED(grouped_channel)(c, filter);
    REAL *to = (REAL *)phase->factors + item * NAMED(grouped_size)(c), check = 0;
    NAMED(lane_index) which;
    int64_t offset[LANES];
    (void)scratch;
    for (int64_t l = 0; l < LANES; l++) {
        const int64_t group = (filter + l) / c->filters;
        which[l] = group * c->channels - base;
        offset[l] = group * c->weight_group_stride + (filter + l) % c->filters * c->weight_stride[0];
    }
    memcpy(to, &which, sizeof which);
    to += LANES;
    for (int64_t tap = 0; tap < depthwise_taps(c); tap++) {
        const REAL *weight = (const REAL *)c->weight + tap / c->taps[2] / c->taps[1] * c->weight_stride[2] +
                             tap / c->taps[2] % c->taps[1] * c->weight_stride[3] +
                             tap % c->taps[2] * c->weight_stride[4];
        for (int64_t j = 0; j < c->channels; j++)
            for (int64_t l = 0; l < LANES; l++, to++) {
                *to = weight[offset[l] + j * c->weight_stride[1]];
                check += *to * 0;
            }
    }
    if (!(check == 0)) *phase->spoiled = 1;
}
#undef GROUPED_PIXELS
#undef GROUPED_SOME
#undef GROUPED_FEW
