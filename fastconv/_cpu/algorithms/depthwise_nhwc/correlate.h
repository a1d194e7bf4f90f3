/* Depthwise forward and backward_input with channels as lanes, read and written where they lie.
 *
 *     result[p, c] = sum over t of  source[p*step + first + t*delta, c] * factors[t, c]
 *
 * A tile is one or two rows of pixels of one vector of channels. Two rows, where taps and pixels are neighbours along
 * h, share every source row that both need; where they are neighbours along w, or pixels are two taps apart, up to
 * three taps of a row share every vector of the source. Taps outside the source are left out: finite weights are a
 * precondition. Layout: channels that are neighbours in memory, at least a vector of them, else one element at a time;
 * the last vector of channels begins early rather than end late, and so does the last tile of a row. Numerics: one
 * chain of multiply-adds per element over the taps in the order of the source; no block and no thread changes it. */
#define DEPTHWISE_PIXELS (TILE_ROWS > 8 ? 12 : 4)
#define DEPTHWISE_SOME (TILE_ROWS > 8 ? 7 : 3)
#define DEPTHWISE_FEW (TILE_ROWS > 8 ? 4 : 2)
#define DEPTHWISE_TAPS 3
/* Weights, and the rows of the source of a tile of two rows, that stay in a first-level cache together. */
#define DEPTHWISE_BYTES 24576

typedef struct {
    const packed_phase_t *phase;
    const REAL *source; /* of the image */
    const REAL *factors;
    REAL *result; /* of the image's plane */
    int64_t channels;
    int64_t d;        /* of the plane */
    int in_vectors;   /* channels are neighbours, and at least a vector */
    int ends;         /* the epilogue is one of vectors in registers: min(max(sum + bias, low), high) */
    const REAL *bias; /* NULL: none */
    REAL low, high;
} NAMED(depthwise_image_t);

/* `taps` neighbours of a row of taps for the rows `lo` to `hi` of the tile, whose pixels are `spread` taps apart; the
 * first reads column `column` of `line` for the first pixel. `inside`: so do all taps for all pixels; otherwise what
 * lies outside is left out. */
ALWAYS_INLINE void NAMED(depthwise_taps_of)(NAMED(vector) (*sum)[DEPTHWISE_PIXELS], const int lo, const int hi,
                                            const int pixels, const int taps, const int spread, const int inside,
                                            const NAMED(depthwise_image_t) *m, const REAL *line, int64_t column,
                                            const REAL *factors) {
    const correlation_t *c = &m->phase->correlation;
    const int64_t apart = taps > 1 ? c->delta[2] : c->step[2], step = apart * c->source_stride[4];
    const int64_t row_step = c->taps[2] * m->channels; /* from a tap row to the next */
    const int64_t size = c->source_size[2];
    int64_t begin = -column, end = size - column;
    if (!inside && apart != 1) {
        begin = begin > 0 ? div_up(begin, apart) : 0;
        end = end > 0 ? div_up(end, apart) : 0;
    }
    NAMED(vector) factor[2][DEPTHWISE_TAPS];
#pragma GCC unroll 2
    for (int a = lo; a <= hi; a++)
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) factor[a][t] = NAMED(load)(factors - a * row_step + t * m->channels);
    line += column * c->source_stride[4];
#pragma GCC unroll 26
    for (int q = 0; q < (pixels - 1) * spread + taps; q++, line += step) {
        if (!inside && (q < begin || q >= end)) continue;
        NAMED(vector) x = NAMED(load)(line);
        if (lo < hi || taps > 1) LOADED_ONCE(x);
#pragma GCC unroll 2
        for (int a = lo; a <= hi; a++)
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++)
                if (q >= t && (q - t) % spread == 0 && (q - t) / spread < pixels)
                    sum[a][(q - t) / spread] += x * factor[a][t];
    }
}

/* Source row `line` of tap row `factors` into the rows `lo` to `hi` of a tile of `rows`. */
ALWAYS_INLINE void NAMED(depthwise_row)(NAMED(vector) (*sum)[DEPTHWISE_PIXELS], const int lo, const int hi,
                                        const int rows, const int pixels, const NAMED(depthwise_image_t) *m,
                                        const REAL *line, int64_t column, const REAL *factors) {
    const correlation_t *c = &m->phase->correlation;
    const int next = pixels > 1 && c->step[2] == c->delta[2];
    const int second = pixels > 1 && rows == 1 && c->step[2] == 2 * c->delta[2];
    for (int64_t t = 0, taps; t < c->taps[2]; t += taps) {
        const int64_t left = c->taps[2] - t, first = column + t * c->delta[2];
        const REAL *at = factors + t * m->channels;
        taps = next || second ? NAMED(taps_together)(left) : 1;
        const int64_t last = first + (pixels - 1) * c->step[2] + (taps - 1) * c->delta[2];
        if (last < 0 || first >= c->source_size[2]) continue;
        const int inside = first >= 0 && last < c->source_size[2];
#define TAPS(taps, spread)                                                                                             \
    if (inside)                                                                                                        \
        NAMED(depthwise_taps_of)(sum, lo, hi, pixels, taps, spread, 1, m, line, first, at);                            \
    else                                                                                                               \
        NAMED(depthwise_taps_of)(sum, lo, hi, pixels, taps, spread, 0, m, line, first, at);
        if (second && taps == 3) {
            TAPS(3, 2)
        } else if (second && taps == 2) {
            TAPS(2, 2)
        } else if (taps == 3) {
            TAPS(3, 1)
        } else if (taps == 2) {
            TAPS(2, 1)
        } else {
            TAPS(1, 1)
        }
#undef TAPS
    }
}

/* Asks for what the tile below will read first: its rows are far apart in memory, pixel by pixel. */
ALWAYS_INLINE void NAMED(depthwise_prefetch)(const int rows, const int pixels, const NAMED(depthwise_image_t) *m,
                                             int64_t h, int64_t pixel, int64_t channel) {
    const correlation_t *c = &m->phase->correlation;
    const int64_t d = min64(max64(m->d * c->step[0] + c->first[0], 0), c->source_size[0] - 1);
    const int64_t first = h * c->step[1] + c->first[1] + (c->taps[1] + rows - 2) * c->delta[1] + 1;
    const int64_t last = min64(first + rows * c->step[1], c->source_size[1]), step = c->source_stride[4];
    const REAL *at = m->source + d * c->source_stride[2] + (pixel * c->step[2]) * step + channel;
    for (int64_t row = max64(first, 0); row < last; row++)
        for (int64_t s = 0; s < c->step[2]; s++) {
            const REAL *line = at + row * c->source_stride[3] + s * step;
#pragma GCC unroll 12
            for (int p = 0; p < pixels; p++, line += c->step[2] * step) __builtin_prefetch(line, 0, 3);
        }
}

ALWAYS_INLINE void NAMED(depthwise_tile)(const int rows, const int pixels, const NAMED(depthwise_image_t) *m, int64_t h,
                                         int64_t pixel, int64_t channel) {
    const correlation_t *c = &m->phase->correlation;
    const int64_t column = pixel * c->step[2] + c->first[2];
    NAMED(vector) sum[2][DEPTHWISE_PIXELS];
    if (pixels > 1 && max64(c->step[1], c->step[2]) <= 4) NAMED(depthwise_prefetch)(rows, pixels, m, h, pixel, channel);
#pragma GCC unroll 2
    for (int a = 0; a < rows; a++)
#pragma GCC unroll 12
        for (int p = 0; p < pixels; p++) {
            sum[a][p] = (NAMED(vector)){0};
            /* Stores wait for their lines in order; the sums take long enough to fetch them. */
            __builtin_prefetch(
                m->result + (h + a) * c->result_stride[3] + (pixel + p) * c->result_stride[4] + channel + LANES - 1, 1);
        }
    for (int64_t slice = 0; slice < c->taps[0]; slice++) {
        const int64_t d = m->d * c->step[0] + c->first[0] + slice * c->delta[0];
        if (d < 0 || d >= c->source_size[0]) continue;
        for (int64_t i = 0; i < c->taps[1] + rows - 1; i++) {
            const int64_t row = h * c->step[1] + c->first[1] + i * c->delta[1];
            if (row < 0 || row >= c->source_size[1]) continue;
            const REAL *line = m->source + d * c->source_stride[2] + row * c->source_stride[3] + channel;
            const REAL *factors = m->factors + (slice * c->taps[1] + i) * c->taps[2] * m->channels + channel;
            if (rows == 1 || i == 0)
                NAMED(depthwise_row)(sum, 0, 0, rows, pixels, m, line, column, factors);
            else if (i == c->taps[1])
                NAMED(depthwise_row)(sum, 1, 1, rows, pixels, m, line, column, factors);
            else
                NAMED(depthwise_row)(sum, 0, 1, rows, pixels, m, line, column, factors);
        }
    }
    if (m->ends) {
        const NAMED(vector) low = NAMED(splat)(m->low), high = NAMED(splat)(m->high);
        const NAMED(vector) bias = m->bias == NULL ? NAMED(splat)((REAL)-0.0) : NAMED(load)(m->bias + channel);
#pragma GCC unroll 2
        for (int a = 0; a < rows; a++)
#pragma GCC unroll 12
            for (int p = 0; p < pixels; p++) sum[a][p] = NAMED(at_most)(high, NAMED(at_least)(low, sum[a][p] + bias));
    }
#pragma GCC unroll 2
    for (int a = 0; a < rows; a++)
#pragma GCC unroll 12
        for (int p = 0; p < pixels; p++)
            NAMED(store)(m->result + (h + a) * c->result_stride[3] + (pixel + p) * c->result_stride[4] + channel,
                         sum[a][p]);
}

#define TILE(name, rows, pixels)                                                                                       \
    static void NAMED(name)(const NAMED(depthwise_image_t) *m, int64_t h, int64_t pixel, int64_t channel) {            \
        NAMED(depthwise_tile)(rows, pixels, m, h, pixel, channel);                                                     \
    }
TILE(depthwise_1_many, 1, DEPTHWISE_PIXELS)
TILE(depthwise_1_some, 1, DEPTHWISE_SOME)
TILE(depthwise_1_few, 1, DEPTHWISE_FEW)
TILE(depthwise_1_one, 1, 1)
TILE(depthwise_2_many, 2, DEPTHWISE_PIXELS)
TILE(depthwise_2_some, 2, DEPTHWISE_SOME)
TILE(depthwise_2_few, 2, DEPTHWISE_FEW)
TILE(depthwise_2_one, 2, 1)
#undef TILE

/* [rows - 1][many, some, few or one pixel] */
static void (*const NAMED(depthwise_tiles)[2][4])(const NAMED(depthwise_image_t) *, int64_t, int64_t, int64_t) = {
    {NAMED(depthwise_1_many), NAMED(depthwise_1_some), NAMED(depthwise_1_few), NAMED(depthwise_1_one)},
    {NAMED(depthwise_2_many), NAMED(depthwise_2_some), NAMED(depthwise_2_few), NAMED(depthwise_2_one)},
};

/* Channels [first, end) of all pixels of `rows` rows. */
static void NAMED(depthwise_sweep)(int64_t rows, const NAMED(depthwise_image_t) *m, int64_t h, int64_t first,
                                   int64_t end) {
    const int64_t pixels = m->phase->correlation.pixels[2];
    static const int sizes[] = {DEPTHWISE_PIXELS, DEPTHWISE_SOME, DEPTHWISE_FEW, 1};
    for (int64_t pixel = 0, taken; pixel < pixels; pixel += taken) {
        const int size = NAMED(next_tile)(sizes, pixels - pixel, pixels, &taken);
        for (int64_t channel = first; channel < end; channel += LANES)
            NAMED(depthwise_tiles)[rows - 1][size](m, h, min64(pixel, pixels - taken),
                                                   min64(channel, m->channels - LANES));
    }
}

/* One row element by element, at any strides. */
static void NAMED(depthwise_elements)(const NAMED(depthwise_image_t) *m, int64_t h) {
    const correlation_t *c = &m->phase->correlation;
    for (int64_t w = 0; w < c->pixels[2]; w++)
        for (int64_t channel = 0; channel < m->channels; channel++) {
            const REAL *factor = m->factors + channel;
            REAL sum = 0;
            for (int64_t i = 0; i < tap_count(c); i++, factor += m->channels) {
                const int64_t tap[3] = {i / c->taps[2] / c->taps[1], i / c->taps[2] % c->taps[1], i % c->taps[2]};
                const int64_t position[3] = {m->d, h, w};
                const REAL *source = m->source + channel * c->source_stride[1];
                int inside = 1;
                for (int axis = 0; axis < 3; axis++) {
                    const int64_t at = position[axis] * c->step[axis] + c->first[axis] + tap[axis] * c->delta[axis];
                    inside &= at >= 0 && at < c->source_size[axis];
                    source += at * c->source_stride[2 + axis];
                }
                if (inside) sum += *source * *factor;
            }
            m->result[h * c->result_stride[3] + w * c->result_stride[4] + channel * c->result_stride[1]] = sum;
        }
}

/* Channels from `first` on of rows [h, last) of one plane of image n, which have to be finished yet. */
static void NAMED(depthwise_finish)(const NAMED(depthwise_image_t) *m, int64_t n, int64_t h, int64_t last,
                                    int64_t first, int64_t end) {
    const correlation_t *c = &m->phase->correlation;
    if (m->ends || NAMED(epilogue_is_empty)(&m->phase->epilogue)) return;
    for (int64_t row = h; row < last; row++)
        NAMED(finish_pixels)(m->phase, m->result + row * c->result_stride[3] + first * c->result_stride[1],
                             c->result_stride[4], c->result_stride[1], first, end - first, n, m->d, row, 0,
                             c->pixels[2]);
}

/* Rows [h, last) of one plane of image n: all of them for as many channels as have their weights and the rows that a
 * tile reads in a first-level cache, where the next tile finds those that it shares. */
static void NAMED(depthwise_band)(const NAMED(depthwise_image_t) *m, int64_t n, int64_t h, int64_t last) {
    const correlation_t *c = &m->phase->correlation;
    const int in_pairs = c->step[1] == 1 && c->delta[1] == 1 && c->taps[1] > 1;
    const int64_t lines = tap_count(c) + (c->taps[1] + in_pairs) * c->source_size[2];
    const int64_t width = max64(DEPTHWISE_BYTES / (max64(lines, 1) * VECTOR_BYTES), 1) * LANES;
    for (; !m->in_vectors && h < last; h++) {
        NAMED(depthwise_elements)(m, h);
        NAMED(depthwise_finish)(m, n, h, h + 1, 0, m->channels);
    }
    for (int64_t first = 0; m->in_vectors && first < m->channels; first += width) {
        const int64_t end = min64(first + width, m->channels);
        for (int64_t row = h, rows; row < last; row += rows) {
            rows = in_pairs && row + 2 <= last ? 2 : 1;
            NAMED(depthwise_sweep)(rows, m, row, first, end);
            /* The last vector of channels may have begun before `first`. */
            NAMED(depthwise_finish)(m, n, row, row + rows, min64(first, m->channels - LANES), end);
        }
    }
}

/* One item: a band of rows of one plane in all phases, which share what they read and the lines that they write. */
static void NAMED(correlate)(const void *data, int64_t item, void *scratch) {
    const nhwc_job_t *job = (const nhwc_job_t *)data;
    const int64_t bands = nhwc_bands(job), plane = item / bands, first = item % bands * job->band;
    const int64_t planes = job->phases[0].correlation.pixels[0], n = plane / planes, d = plane % planes;
    (void)scratch;
    for (int64_t i = 0; i < job->phase_count; i++) {
        const correlation_t *c = &job->phases[i].correlation;
        const epilogue_t *e = &job->phases[i].epilogue;
        NAMED(depthwise_image_t) image = {.phase = &job->phases[i],
                                          .source = (const REAL *)c->source + n * c->source_stride[0],
                                          .factors = (const REAL *)job->phases[i].factors,
                                          .result =
                                              (REAL *)c->result + n * c->result_stride[0] + d * c->result_stride[2],
                                          .channels = c->groups,
                                          .d = d,
                                          .bias = (const REAL *)e->bias};
        image.in_vectors = c->groups >= LANES && c->source_stride[1] == 1 && c->result_stride[1] == 1;
        image.ends = NAMED(is_clamp)(e->activation, &image.low, &image.high) && e->add == NULL &&
                     !NAMED(epilogue_is_empty)(e) && image.in_vectors;
        if (d < c->pixels[0]) NAMED(depthwise_band)(&image, n, first, min64(first + job->band, c->pixels[1]));
    }
}

/* The weights of one tap. */
static void NAMED(pack_weight)(const void *data, int64_t item, void *scratch) {
    const packed_phase_t *phase = (const packed_phase_t *)data;
    const correlation_t *c = &phase->correlation;
    const int64_t w = item % c->taps[2], h = item / c->taps[2] % c->taps[1], d = item / c->taps[2] / c->taps[1];
    const REAL *weight =
        (const REAL *)c->weight + d * c->weight_stride[2] + h * c->weight_stride[3] + w * c->weight_stride[4];
    (void)scratch;
    REAL *factors = (REAL *)phase->factors + item * c->groups, check = 0;
    NAMED(copy_line)(factors, weight, c->weight_group_stride, c->groups);
    for (int64_t i = 0; i < c->groups; i++) check += factors[i] * 0;
    if (!(check == 0)) *phase->spoiled = 1;
}
#undef DEPTHWISE_PIXELS
#undef DEPTHWISE_SOME
#undef DEPTHWISE_FEW
#undef DEPTHWISE_TAPS
#undef DEPTHWISE_BYTES
