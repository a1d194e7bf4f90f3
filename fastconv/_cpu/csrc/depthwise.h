/* Depthwise forward and backward_input with channels as lanes, read and written where they lie.
 *
 *     result[p, c] = sum over t of  source[p*step + first + t*delta, c] * factors[t, c]
 *
 * A tile is one or two rows of pixels of one, two or four vectors of channels. Two rows, where taps and pixels are
 * neighbours along h, share every source row that both need. Taps outside the source are left out, for which finite
 * weights are a precondition of forward: there the definition multiplies them by zeros. Layout: channels
 * that are neighbours in memory, at least a vector of them, else one element at a time; the last vector of channels
 * begins early rather than end late, and so does the last tile of a row. Numerics: one chain of multiply-adds per
 * element over the taps in the order of the source; no block and no thread changes it. */
#define DEPTHWISE_PIXELS (TILE_ROWS > 8 ? 6 : 3)

typedef struct {
    const depthwise_phase_t *phase;
    const REAL *source; /* of the image */
    const REAL *factors;
    REAL *result; /* of the image's plane */
    int64_t channels;
    int64_t d; /* of the plane */
} NAMED(depthwise_image_t);

/* Source row `slice` and tap row `i` of pixels from `pixel` on; `lo` to `hi`: the rows of the tile that take part. */
ALWAYS_INLINE void NAMED(depthwise_row)(NAMED(vector) (*sum)[6][4], const int lo, const int hi, const int pixels,
                                        const int vectors, const NAMED(depthwise_image_t) *m, const REAL *line,
                                        const REAL *factors, int64_t first_tap, int64_t last_tap) {
    const correlation_t *c = &m->phase->sum;
    const int64_t tap_step = c->delta[2] * c->source_stride[4], pixel_step = c->step[2] * c->source_stride[4];
    const int64_t row_step = c->taps[2] * m->channels; /* from a tap row to the next */
    line += first_tap * tap_step;
    factors += first_tap * m->channels;
    for (int64_t k = first_tap; k < last_tap; k++, line += tap_step, factors += m->channels) {
        NAMED(vector) factor[2][4];
#pragma GCC unroll 2
        for (int a = lo; a <= hi; a++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) factor[a][v] = NAMED(load)(factors - a * row_step + v * LANES);
#pragma GCC unroll 6
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                NAMED(vector) x = NAMED(load)(line + p * pixel_step + v * LANES);
                if (lo < hi) LOADED_ONCE(x);
#pragma GCC unroll 2
                for (int a = lo; a <= hi; a++) sum[a][p][v] += x * factor[a][v];
            }
    }
}

/* Asks for what the tile below will read first: its rows are far apart in memory, pixel by pixel. */
ALWAYS_INLINE void NAMED(depthwise_prefetch)(const int rows, const int pixels, const int vectors,
                                             const NAMED(depthwise_image_t) *m, int64_t h, int64_t pixel,
                                             int64_t channel) {
    const correlation_t *c = &m->phase->sum;
    const int64_t d = min64(max64(m->d * c->step[0] + c->first[0], 0), c->source_size[0] - 1);
    const int64_t first = h * c->step[1] + c->first[1] + (c->taps[1] + rows - 2) * c->delta[1] + 1;
    const int64_t last = min64(first + rows * c->step[1], c->source_size[1]);
    const REAL *at = m->source + d * c->source_stride[2] + (pixel * c->step[2]) * c->source_stride[4] + channel;
    for (int64_t row = max64(first, 0); row < last; row++)
        for (int64_t p = 0; p < pixels * c->step[2]; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                __builtin_prefetch(at + row * c->source_stride[3] + p * c->source_stride[4] + v * LANES, 0, 2);
}

/* A tile of `rows` rows from h on. Taps [first_tap, last_tap) on w lie inside the source for all its pixels. */
ALWAYS_INLINE void NAMED(depthwise_tile)(const int rows, const int pixels, const int vectors,
                                         const NAMED(depthwise_image_t) *m, int64_t h, int64_t pixel, int64_t channel,
                                         int64_t first_tap, int64_t last_tap) {
    const correlation_t *c = &m->phase->sum;
    NAMED(vector) sum[2][6][4];
    if (pixels > 1 && max64(c->step[1], c->step[2]) <= 4)
        NAMED(depthwise_prefetch)(rows, pixels, vectors, m, h, pixel, channel);
#pragma GCC unroll 2
    for (int a = 0; a < rows; a++)
#pragma GCC unroll 6
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sum[a][p][v] = (NAMED(vector)){0};
    for (int64_t slice = 0; slice < c->taps[0]; slice++) {
        const int64_t d = m->d * c->step[0] + c->first[0] + slice * c->delta[0];
        if (d < 0 || d >= c->source_size[0]) continue;
        for (int64_t i = 0; i < c->taps[1] + rows - 1; i++) {
            const int64_t row = h * c->step[1] + c->first[1] + i * c->delta[1];
            if (row < 0 || row >= c->source_size[1]) continue;
            const REAL *line = m->source + d * c->source_stride[2] + row * c->source_stride[3] +
                               (pixel * c->step[2] + c->first[2]) * c->source_stride[4] + channel;
            const REAL *factors = m->factors + (slice * c->taps[1] + i) * c->taps[2] * m->channels + channel;
            if (rows == 1 || i == 0)
                NAMED(depthwise_row)(sum, 0, 0, pixels, vectors, m, line, factors, first_tap, last_tap);
            else if (i == c->taps[1])
                NAMED(depthwise_row)(sum, 1, 1, pixels, vectors, m, line, factors, first_tap, last_tap);
            else
                NAMED(depthwise_row)(sum, 0, 1, pixels, vectors, m, line, factors, first_tap, last_tap);
        }
    }
#pragma GCC unroll 2
    for (int a = 0; a < rows; a++)
#pragma GCC unroll 6
        for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                NAMED(store)(m->result + (h + a) * c->result_stride[3] + (pixel + p) * c->result_stride[4] + channel +
                                 v * LANES,
                             sum[a][p][v]);
}

/* All pixels of `rows` rows for some vectors of channels. */
ALWAYS_INLINE void NAMED(depthwise_sweep)(const int rows, const int vectors, const NAMED(depthwise_image_t) *m,
                                          int64_t h, int64_t channel, int64_t begin, int64_t end) {
    const correlation_t *c = &m->phase->sum;
    for (int64_t pixel = 0; pixel < c->pixels[2]; pixel++) {
        if (pixel == begin && end - begin >= DEPTHWISE_PIXELS) {
            for (; pixel < end; pixel += DEPTHWISE_PIXELS)
                NAMED(depthwise_tile)(rows, DEPTHWISE_PIXELS, vectors, m, h, min64(pixel, end - DEPTHWISE_PIXELS),
                                      channel, 0, c->taps[2]);
            pixel = end;
            if (pixel == c->pixels[2]) return;
        }
        const int64_t left = pixel * c->step[2] + c->first[2], delta = c->delta[2];
        const int64_t first = left < 0 ? div_up(-left, delta) : 0;
        const int64_t last = left < c->source_size[2] ? min64(div_up(c->source_size[2] - left, delta), c->taps[2]) : 0;
        NAMED(depthwise_tile)(rows, 1, vectors, m, h, pixel, channel, first, last);
    }
}

#define SWEEP(rows, vectors)                                                                                           \
    static void NAMED(depthwise_##rows##x##vectors)(const NAMED(depthwise_image_t) *m, int64_t h, int64_t channel,     \
                                                    int64_t begin, int64_t end) {                                      \
        NAMED(depthwise_sweep)(rows, vectors, m, h, channel, begin, end);                                              \
    }
SWEEP(1, 1)
SWEEP(1, 4)
SWEEP(2, 1)
SWEEP(2, 2)
#undef SWEEP

/* One row element by element, at any strides. */
static void NAMED(depthwise_elements)(const NAMED(depthwise_image_t) *m, int64_t h) {
    const correlation_t *c = &m->phase->sum;
    for (int64_t w = 0; w < c->pixels[2]; w++)
        for (int64_t channel = 0; channel < m->channels; channel++) {
            const REAL *factor = m->factors + channel;
            REAL sum = 0;
            for (int64_t i = 0; i < depthwise_taps(c); i++, factor += m->channels) {
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

/* Bias, add and activation on row h, pixel by pixel. */
static void NAMED(depthwise_finish)(const NAMED(depthwise_image_t) *m, int64_t n, int64_t h) {
    const correlation_t *c = &m->phase->sum;
    const epilogue_t *e = &m->phase->epilogue;
    const REAL *add = (const REAL *)e->add;
    if (add != NULL) add += n * e->add_stride[0] + m->d * e->add_stride[2] + h * e->add_stride[3];
    for (int64_t w = 0; w < c->pixels[2]; w++)
        NAMED(epilogue_run)(e, m->result + h * c->result_stride[3] + w * c->result_stride[4], c->result_stride[1],
                            m->channels, (const REAL *)e->bias, 1, add == NULL ? NULL : add + w * e->add_stride[4],
                            e->add_stride[1]);
}

/* Rows [h, last) of one plane of image n, all channels. */
static void NAMED(depthwise_band)(const NAMED(depthwise_image_t) *m, int64_t n, int64_t h, int64_t last) {
    const correlation_t *c = &m->phase->sum;
    const int64_t channels = m->channels;
    const int in_vectors = channels >= LANES && c->source_stride[1] == 1 && c->result_stride[1] == 1;
    const int in_pairs = c->step[1] == 1 && c->delta[1] == 1 && c->taps[1] > 1;
    int64_t begin, end;
    depthwise_interior(c, c->first[2], c->taps[2], &begin, &end);
    for (int64_t rows; h < last; h += rows) {
        rows = in_vectors && in_pairs && h + 2 <= last ? 2 : 1;
        const int64_t wide = rows == 2 ? 2 : 4;
        for (int64_t channel = 0; in_vectors && channel < channels;) {
            if (channels - channel >= wide * LANES) {
                if (rows == 2)
                    NAMED(depthwise_2x2)(m, h, channel, begin, end);
                else
                    NAMED(depthwise_1x4)(m, h, channel, begin, end);
                channel += wide * LANES;
                continue;
            }
            const int64_t at = min64(channel, channels - LANES);
            if (rows == 2)
                NAMED(depthwise_2x1)(m, h, at, begin, end);
            else
                NAMED(depthwise_1x1)(m, h, at, begin, end);
            channel += LANES;
        }
        if (!in_vectors) NAMED(depthwise_elements)(m, h);
        for (int64_t row = h; row < h + rows && !NAMED(epilogue_is_empty)(&m->phase->epilogue); row++)
            NAMED(depthwise_finish)(m, n, row);
    }
}

/* One item: a band of rows of one plane in all phases, which share what they read and the lines that they write. */
static void NAMED(depthwise_correlate)(const void *data, int64_t item, void *scratch) {
    const depthwise_job_t *job = (const depthwise_job_t *)data;
    const int64_t bands = depthwise_bands(job), plane = item / bands, first = item % bands * job->band;
    const int64_t planes = job->phases[0].sum.pixels[0], n = plane / planes, d = plane % planes;
    (void)scratch;
    for (int64_t i = 0; i < job->phase_count; i++) {
        const correlation_t *c = &job->phases[i].sum;
        const NAMED(depthwise_image_t) image = {.phase = &job->phases[i],
                                                .source = (const REAL *)c->source + n * c->source_stride[0],
                                                .factors = (const REAL *)job->phases[i].factors,
                                                .result = (REAL *)c->result + n * c->result_stride[0] +
                                                          d * c->result_stride[2],
                                                .channels = c->groups,
                                                .d = d};
        if (d < c->pixels[0]) NAMED(depthwise_band)(&image, n, first, min64(first + job->band, c->pixels[1]));
    }
}

/* The weights of one tap. */
static void NAMED(depthwise_pack)(const void *data, int64_t item, void *scratch) {
    const depthwise_phase_t *phase = (const depthwise_phase_t *)data;
    const correlation_t *c = &phase->sum;
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
