/* backward_weight of small groups with filters of several groups as lanes.
 *
 *     weight[f, j, t] = sum over n, p of  source[n, p*step + first + t*delta, group(f) * channels + j] * gradient[n, p,
 * f]
 *
 * Blocks, how channels are spread over lanes, and the panel that the source is copied to as in correlate.h; the
 * gradient is copied, too, [row][pixel][lane]. Sums [tap * channel][lane]: some channels of up to
 * three taps are summed in registers over a band of rows, where a spread vector meets all taps that see it. Rows
 * outside the source are left out, columns outside of it are zeros: where values are not finite, sums are not, as long
 * as every pixel has a tap inside, and then the caller computes by other means. Numerics: each band is summed from zero
 * and added to the sums of the bands before it, then splits are added in order, so that the bits depend on the problem
 * alone. */
#define GRADIENT_PIXELS (TILE_ROWS > 8 ? 7 : 4)
#define GRADIENT_CHANNELS (TILE_ROWS > 8 ? 4 : 2)

/* Rows of pixels and what some taps of one row of them read. */
typedef struct {
    const REAL *source; /* first tap at the first pixel */
    int64_t source_row; /* elements from one row of pixels to the next */
    const REAL *gradient;
    int64_t gradient_row;
    int64_t rows;
    int64_t pixels; /* of a row */
    int64_t apart;  /* columns from one pixel to the next; with one tap at a time */
    int64_t tap_size;
} NAMED(small_groups_run_t);

/* Neighbouring pixels, `spread` taps apart, into the sums. */
ALWAYS_INLINE void NAMED(small_groups_gradient_tile)(NAMED(vector) (*sum)[SMALL_GROUPS_TAPS], const int how,
                                                     const int channels, const int taps, const int spread,
                                                     const int pixels, int64_t apart, const REAL *source,
                                                     const REAL *gradient, NAMED(lane_index) which) {
    NAMED(vector) factor[GRADIENT_PIXELS];
#pragma GCC unroll 7
    for (int p = 0; p < pixels; p++) factor[p] = NAMED(load)(gradient + p * LANES);
#pragma GCC unroll 15
    for (int q = 0; q < (pixels - 1) * spread + taps; q++)
#pragma GCC unroll 4
        for (int a = 0; a < channels; a++) {
            NAMED(vector) x = NAMED(spread)(how, source + q * apart * LANES, a, which + a);
            if (taps > 1) LOADED_ONCE(x);
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++)
                if (q >= t && (q - t) % spread == 0 && (q - t) / spread < pixels)
                    sum[a][t] += x * factor[(q - t) / spread];
        }
}

/* `channels` channels and `taps` taps of some rows; pixels are `spread` taps apart. */
ALWAYS_INLINE void NAMED(small_groups_gradient_run)(const int how, const int channels, const int taps, const int spread,
                                                    const NAMED(small_groups_run_t) *run, NAMED(lane_index) which,
                                                    REAL *sums) {
    const int64_t apart = taps > 1 ? 1 : run->apart, step = taps > 1 ? spread : run->apart;
    NAMED(vector) sum[GRADIENT_CHANNELS][SMALL_GROUPS_TAPS];
#pragma GCC unroll 4
    for (int a = 0; a < channels; a++)
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) sum[a][t] = (NAMED(vector)){0};
    for (int64_t row = 0; row < run->rows; row++) {
        const REAL *source = run->source + row * run->source_row, *gradient = run->gradient + row * run->gradient_row;
        int64_t w = 0;
        for (; w + GRADIENT_PIXELS <= run->pixels; w += GRADIENT_PIXELS)
            NAMED(small_groups_gradient_tile)(sum, how, channels, taps, spread, GRADIENT_PIXELS, apart,
                                              source + w * step * LANES, gradient + w * LANES, which);
        for (; w < run->pixels; w++)
            NAMED(small_groups_gradient_tile)(sum, how, channels, taps, spread, 1, apart, source + w * step * LANES,
                                              gradient + w * LANES, which);
    }
#pragma GCC unroll 4
    for (int a = 0; a < channels; a++)
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) {
            REAL *to = sums + t * run->tap_size + a * LANES;
            NAMED(store)(to, NAMED(load)(to) + sum[a][t]);
        }
}

#define RUN(name, how, channels, taps, spread)                                                                         \
    static void NAMED(name)(const NAMED(small_groups_run_t) *run, NAMED(lane_index) which, REAL *sums) {               \
        NAMED(small_groups_gradient_run)(how, channels, taps, spread, run, which, sums);                               \
    }
#define RUNS(name, how, channels)                                                                                      \
    RUN(name##_apart, how, channels, SMALL_GROUPS_TAPS, 2)                                                             \
    RUN(name##_taps, how, channels, SMALL_GROUPS_TAPS, 1)                                                              \
    RUN(name##_tap, how, channels, 1, 1)
RUNS(small_groups_broadcast, NAMED(BROADCAST), GRADIENT_CHANNELS)
RUNS(small_groups_broadcast_single, NAMED(BROADCAST), 1)
RUNS(small_groups_permuted, NAMED(PERMUTED), GRADIENT_CHANNELS)
RUNS(small_groups_permuted_single, NAMED(PERMUTED), 1)
#undef RUNS
#undef RUN

/* [how][whether of one channel][one tap, or several with pixels one or two of them apart] */
#define RUNS(name) {NAMED(name##_tap), NAMED(name##_taps), NAMED(name##_apart)}
static void (*const NAMED(small_groups_runs)[2][2][3])(const NAMED(small_groups_run_t) *, NAMED(lane_index), REAL *) = {
    {RUNS(small_groups_broadcast), RUNS(small_groups_broadcast_single)},
    {RUNS(small_groups_permuted), RUNS(small_groups_permuted_single)},
};
#undef RUNS

/* One row of taps, whose first tap `run` is at, for one vector of channels, the first of them number `first`. */
static void NAMED(small_groups_gradient_taps)(const correlation_t *c, NAMED(small_groups_run_t) run,
                                              NAMED(lane_index) which, int64_t first, REAL *sums) {
    const int how = NAMED(small_groups_how)(c);
    const int64_t spread = c->delta[2] == 1 && c->step[2] <= 2 ? c->step[2] : 0;
    const int64_t channels = min64(c->channels - first, LANES);
    for (int64_t t = 0, taps; t < c->taps[2]; t += taps, run.source += taps * c->delta[2] * LANES) {
        taps = spread > 0 && t + SMALL_GROUPS_TAPS <= c->taps[2] ? SMALL_GROUPS_TAPS : 1;
        for (int64_t j = 0, some; j < channels; j += some) {
            NAMED(small_groups_run_t) part = run;
            some = j + GRADIENT_CHANNELS <= channels ? GRADIENT_CHANNELS : 1;
            if (how == NAMED(BROADCAST)) part.source += j;
            NAMED(small_groups_runs)[how][some == 1][taps == 1 ? 0 : spread](
                &part, which + (int)j, sums + t * run.tap_size + (first + j) * LANES);
        }
    }
}

/* A band of the gradient, copied with what it reads, into the sums of a block. */
static void NAMED(small_groups_add_band)(const correlation_t *c, const NAMED(small_groups_panel_t) *panel,
                                         const NAMED(small_groups_band_t) *band, const REAL *gradient,
                                         NAMED(lane_index) which, REAL *sums) {
    NAMED(small_groups_run_t) run = {.source_row = c->step[1] * panel->size[2] * LANES,
                                     .gradient_row = band->columns * LANES,
                                     .pixels = band->columns,
                                     .apart = c->step[2],
                                     .tap_size = c->channels * LANES};
    for (int64_t tap = 0; tap < c->taps[0] * c->taps[1]; tap++, sums += c->taps[2] * run.tap_size) {
        const int64_t plane = band->d * c->step[0] + c->first[0] + tap / c->taps[1] * c->delta[0];
        const int64_t row = band->h * c->step[1] + c->first[1] + tap % c->taps[1] * c->delta[1];
        int64_t begin, end;
        NAMED(clip)(row, c->step[1], band->rows, c->source_size[1], &begin, &end);
        if (plane < 0 || plane >= c->source_size[0] || begin == end) continue;
        run.rows = end - begin;
        run.gradient = gradient + begin * run.gradient_row;
        for (int64_t v = 0; v < panel->vectors; v++) {
            run.source = NAMED(small_groups_line)(panel, plane, row + begin * c->step[1], v);
            NAMED(small_groups_gradient_taps)(c, run, which, v * LANES, sums);
        }
    }
}

/* A band of the gradient of a block, [row][pixel][lane]. */
static void NAMED(copy_gradient)(const correlation_t *c, const NAMED(small_groups_band_t) *band, int64_t block,
                                 REAL *to) {
    const int64_t filter = NAMED(small_groups_filter)(c, block),
                  ahead = NAMED(small_groups_filter)(c, block + 1) - filter;
    const int64_t *stride = c->result_stride;
    const REAL *from = (const REAL *)c->result + band->n * stride[0] + filter * stride[1] + band->d * stride[2] +
                       band->h * stride[3] + band->w * stride[4];
    if (NAMED(needs_transpose)(stride)) {
        NAMED(transpose_rows)(to, band->columns, from, stride, band->columns, band->rows,
                              (c->pixels[1] - band->h) * c->pixels[2]);
        return;
    }
    for (int64_t row = 0; row < band->rows; row++, to += band->columns * LANES, from += stride[3])
        NAMED(copy_vectors)(to, from, stride[4], stride[1], LANES, stride[1] == 1, ahead, band->columns);
}

/* A band into the sums of a block. */
static void NAMED(small_groups_add)(const small_groups_gradient_job_t *job, const NAMED(small_groups_band_t) *band,
                                    int64_t block, REAL *sums, REAL *scratch) {
    const correlation_t *c = &job->splits.correlation;
    const int64_t filter = NAMED(small_groups_filter)(c, block), channel = NAMED(small_groups_channel)(c, filter);
    const NAMED(small_groups_panel_t) panel =
        NAMED(small_groups_panel)(c, &job->reach, band, scratch + band->rows * band->columns * LANES);
    NAMED(lane_index) which = {0};
    for (int64_t l = 0; l < LANES; l++) which[l] = (filter + l) / c->filters * c->channels - channel;
    NAMED(fill_grouped_panel)(c, &panel, band->n, block);
    NAMED(copy_gradient)(c, band, block, scratch);
    NAMED(small_groups_add_band)(c, &panel, band, scratch, which, sums);
}

/* An item is a part of the filters over one pass of one split of the rows. */
static void NAMED(weight_gradient)(const void *data, int64_t item, void *scratch) {
    const small_groups_gradient_job_t *job = (const small_groups_gradient_job_t *)data;
    const int64_t *pixels = job->splits.correlation.pixels;
    const NAMED(gradient_part_t) part = NAMED(gradient_part)(&job->splits, item);
    for (int64_t row = part.begin, rows; row < part.end; row += rows) {
        const int64_t h = row % pixels[1], plane = row / pixels[1];
        rows = min64(min64(job->band, part.end - row), pixels[1] - h);
        for (int64_t w = 0; w < pixels[2]; w += job->columns) {
            const NAMED(small_groups_band_t) band = {.n = plane / pixels[0],
                                                     .d = plane % pixels[0],
                                                     .h = h,
                                                     .w = w,
                                                     .rows = rows,
                                                     .columns = min64(job->columns, pixels[2] - w)};
            for (int64_t block = part.first; block < part.last; block++)
                NAMED(small_groups_add)(job, &band, block, part.sums + block * part.size, (REAL *)scratch);
        }
    }
}

/* An item is one block: its splits, added in order. */
static void NAMED(weight_reduce)(const void *data, int64_t item, void *scratch) {
    const row_splits_t *job = (const row_splits_t *)data;
    (void)scratch;
    NAMED(gradient_reduce)(job, item, NAMED(small_groups_filter)(&job->correlation, item));
}
#undef GRADIENT_PIXELS
#undef GRADIENT_CHANNELS
#undef SMALL_GROUPS_TAPS
