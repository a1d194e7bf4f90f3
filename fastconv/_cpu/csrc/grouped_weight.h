/* backward_weight of small groups with filters of several groups as lanes, read where they lie.
 *
 *     weight[f, j, t] = sum over n, p of  source[n, p*step + first + t*delta, group(f) * channels + j] * gradient[n, p,
 * f]
 *
 * Blocks, and how channels are spread over lanes, as in grouped.h; sums as in depthwise_weight.h, [tap *
 * channel][lane]. Some channels of up to three taps are summed in registers along a row of the gradient: a spread
 * vector meets all taps that see it. Pixels after the end of a row are zeros, as is the source outside of it, and rows
 * outside are left out: where values are not finite, sums are not, as long as every pixel has a tap inside, and then
 * the caller computes by other means. Numerics: as in depthwise_weight.h. */
#define GRADIENT_PIXELS (TILE_ROWS > 8 ? 7 : 4)
#define GRADIENT_CHANNELS (TILE_ROWS > 8 ? 4 : 2)

/* Pixels are `spread` taps apart. */
ALWAYS_INLINE void NAMED(grouped_gradient_run)(const int how, const int channels, const int taps, const int spread,
                                               const correlation_t *c, const REAL *line, int64_t column, int64_t j,
                                               NAMED(lane_index) which, const REAL *gradient, REAL *sums) {
    const int64_t apart = taps > 1 ? c->delta[2] : c->step[2];
    NAMED(vector) sum[GRADIENT_CHANNELS][GROUPED_TAPS];
    which += (int)j;
#pragma GCC unroll 4
    for (int a = 0; a < channels; a++)
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) sum[a][t] = (NAMED(vector)){0};
    for (int64_t w = 0; w < c->pixels[2]; w += GRADIENT_PIXELS) {
        NAMED(vector) factor[GRADIENT_PIXELS];
        int64_t at = column + w * c->step[2];
#pragma GCC unroll 7
        for (int p = 0; p < GRADIENT_PIXELS; p++) {
            const REAL *from = w + p < c->pixels[2] ? gradient + (w + p) * c->result_stride[4] : NAMED(grouped_zeros);
            factor[p] = NAMED(load)(from);
        }
#pragma GCC unroll 15
        for (int q = 0; q < (GRADIENT_PIXELS - 1) * spread + taps; q++, at += apart) {
            const REAL *from =
                at >= 0 && at < c->source_size[2] ? line + at * c->source_stride[4] : NAMED(grouped_zeros);
#pragma GCC unroll 4
            for (int a = 0; a < channels; a++) {
                NAMED(vector) x = NAMED(spread)(how, c, from, j + a, which + a);
                LOADED_ONCE(x);
#pragma GCC unroll 3
                for (int t = 0; t < taps; t++)
                    if (q >= t && (q - t) % spread == 0 && (q - t) / spread < GRADIENT_PIXELS)
                        sum[a][t] += x * factor[(q - t) / spread];
            }
        }
    }
#pragma GCC unroll 4
    for (int a = 0; a < channels; a++)
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) {
            REAL *to = sums + (t * c->channels + a) * LANES;
            NAMED(store)(to, NAMED(load)(to) + sum[a][t]);
        }
}

#define RUN(name, how, channels, taps, spread)                                                                         \
    static void NAMED(name)(const correlation_t *c, const REAL *line, int64_t column, int64_t j,                       \
                            NAMED(lane_index) which, const REAL *gradient, REAL *sums) {                               \
        NAMED(grouped_gradient_run)(how, channels, taps, spread, c, line, column, j, which, gradient, sums);           \
    }
#define RUNS(name, how, channels)                                                                                      \
    RUN(name##_apart, how, channels, GROUPED_TAPS, 2)                                                                  \
    RUN(name##_taps, how, channels, GROUPED_TAPS, 1)                                                                   \
    RUN(name##_tap, how, channels, 1, 1)
RUNS(grouped_broadcast, NAMED(BROADCAST), GRADIENT_CHANNELS)
RUNS(grouped_broadcast_single, NAMED(BROADCAST), 1)
RUNS(grouped_permuted, NAMED(PERMUTED), GRADIENT_CHANNELS)
RUNS(grouped_permuted_single, NAMED(PERMUTED), 1)
#undef RUNS
#undef RUN

/* [how][whether of one channel][one tap, or several with pixels one or two of them apart] */
#define RUNS(name) {NAMED(name##_tap), NAMED(name##_taps), NAMED(name##_apart)}
static void (*const NAMED(grouped_runs)[2][2][3])(const correlation_t *, const REAL *, int64_t, int64_t,
                                                  NAMED(lane_index), const REAL *, REAL *) = {
    {RUNS(grouped_broadcast), RUNS(grouped_broadcast_single)},
    {RUNS(grouped_permuted), RUNS(grouped_permuted_single)},
};
#undef RUNS

/* The same for one channel and one tap, lane by lane at any strides. */
static void NAMED(grouped_gradient_singly)(const correlation_t *c, const REAL *line, int64_t column, int64_t j,
                                           NAMED(lane_index) which, const REAL *gradient, REAL *sums) {
    for (int64_t l = 0; l < LANES; l++) {
        REAL sum = 0;
        for (int64_t w = 0; w < c->pixels[2]; w++) {
            const int64_t at = column + w * c->step[2];
            if (at >= 0 && at < c->source_size[2])
                sum += line[at * c->source_stride[4] + (which[l] + j) * c->source_stride[1]] *
                       gradient[w * c->result_stride[4] + l * c->result_stride[1]];
        }
        sums[l] += sum;
    }
}

/* One row of the gradient and one row of taps, which reads `line`, into the row's sums. */
static void NAMED(grouped_gradient_taps)(const correlation_t *c, const REAL *line, NAMED(lane_index) which,
                                         const REAL *gradient, REAL *sums) {
    const int how = NAMED(grouped_how)(c);
    const int spread = c->step[2] == c->delta[2] ? 1 : c->step[2] == 2 * c->delta[2] ? 2 : 0;
    const int slides = how != NAMED(SINGLY) &&spread > 0;
    for (int64_t t = 0, taps; t < c->taps[2]; t += taps) {
        const int64_t column = c->first[2] + t * c->delta[2];
        taps = slides && t + GROUPED_TAPS <= c->taps[2] ? GROUPED_TAPS : 1;
        for (int64_t j = 0, channels; j < c->channels; j += channels) {
            REAL *to = sums + (t * c->channels + j) * LANES;
            channels = how != NAMED(SINGLY) &&j + GRADIENT_CHANNELS <= c->channels ? GRADIENT_CHANNELS : 1;
            if (how == NAMED(SINGLY))
                NAMED(grouped_gradient_singly)(c, line, column, j, which, gradient, to);
            else
                NAMED(grouped_runs)[how][channels == 1][taps == 1 ? 0 : spread](c, line, column, j, which, gradient,
                                                                                to);
        }
    }
}

/* Row `row` of the gradient, counted through all images, into the sums of a block. */
static void NAMED(grouped_add_row)(const correlation_t *c, int64_t row, int64_t block, REAL *sums) {
    const int64_t h = row % c->pixels[1], d = row / c->pixels[1] % c->pixels[0], n = row / c->pixels[1] / c->pixels[0];
    const int64_t filter = NAMED(grouped_filter)(c, block), channel = NAMED(grouped_channel)(c, filter);
    const REAL *gradient = (const REAL *)c->result + n * c->result_stride[0] + filter * c->result_stride[1] +
                           d * c->result_stride[2] + h * c->result_stride[3];
    const REAL *source = (const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1];
    NAMED(lane_index) which;
    for (int64_t l = 0; l < LANES; l++) which[l] = (filter + l) / c->filters * c->channels - channel;
    for (int64_t tap = 0; tap < c->taps[0] * c->taps[1]; tap++, sums += c->taps[2] * c->channels * LANES) {
        const int64_t depth = d * c->step[0] + c->first[0] + tap / c->taps[1] * c->delta[0];
        const int64_t height = h * c->step[1] + c->first[1] + tap % c->taps[1] * c->delta[1];
        if (depth < 0 || depth >= c->source_size[0] || height < 0 || height >= c->source_size[1]) continue;
        NAMED(grouped_gradient_taps)(c, source + depth * c->source_stride[2] + height * c->source_stride[3], which,
                                     gradient, sums);
    }
}

/* An item is a part of the filters over one pass of one split of the rows. */
static void NAMED(grouped_gradient)(const void *data, int64_t item, void *scratch) {
    const depthwise_gradient_job_t *job = (const depthwise_gradient_job_t *)data;
    (void)scratch;
    NAMED(gradient_item)(job, item, NAMED(grouped_add_row));
}

/* An item is one block: its splits, added in order. */
static void NAMED(grouped_reduce)(const void *data, int64_t item, void *scratch) {
    const depthwise_gradient_job_t *job = (const depthwise_gradient_job_t *)data;
    (void)scratch;
    NAMED(gradient_reduce)(job, item, NAMED(grouped_filter)(&job->sum, item));
}
#undef GRADIENT_PIXELS
#undef GRADIENT_CHANNELS
#undef GROUPED_TAPS
