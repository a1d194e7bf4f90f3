/* Depthwise backward_weight with channels as lanes; image and gradient are read where they lie.
 *
 *     weight[c, t] = sum over n, p of  source[n, p*step + first + t*delta, c] * gradient[n, p, c]
 *
 * A block of sums is some rows of up to eight taps of one vector of channels, in registers along a row of the
 * gradient: a vector of the image meets every sum of the block that it belongs to. Products with the zeros around the
 * source are left out, for which finite gradients are a precondition: a gradient that is not makes sums that are not,
 * as long as every pixel has a tap inside, and then the caller computes by other means. Layout: as in correlate.h; sums
 * [split][vector of channels][tap][lane]. Numerics: each row is summed from zero and added to the sums of the rows
 * before it, then splits are added in order, so that the bits depend on the problem alone. */
#define GRADIENT_TAPS 8
#define GRADIENT_PIXELS 4
/* Rows of a block of `taps` taps each: one load of a gradient serves them all. */
#define GRADIENT_SUMS (TILE_ROWS > 8 ? 25 : 10)
#define GRADIENT_ROWS(taps)                                                                                            \
    ((taps) == 1                        ? 4                                                                            \
     : (taps) * (taps) <= GRADIENT_SUMS ? (taps)                                                                       \
     : GRADIENT_SUMS / (taps) > 0       ? GRADIENT_SUMS / (taps)                                                       \
                                        : 1)

static inline int NAMED(gradient_in_vectors)(const correlation_t *c) {
    return c->groups >= LANES && c->source_stride[1] == 1 && c->result_stride[1] == 1;
}

/* The first channel of a vector; the last one begins early rather than end late. */
static inline int64_t NAMED(gradient_channel)(const correlation_t *c, int64_t block) {
    return NAMED(gradient_in_vectors)(c) ? min64(block * LANES, c->groups - LANES) : block * LANES;
}

typedef struct {
    const REAL *source;   /* first tap of the block, at the first pixel */
    const REAL *gradient; /* of the first pixel */
    REAL *sums;
    const REAL *source_ahead; /* what the next row of the gradient reads first; NULL: nothing */
    const REAL *gradient_ahead;
    int64_t left;  /* column of `source` */
    int64_t begin; /* pixels [begin, end) find all taps of a row inside */
    int64_t end;
} NAMED(gradient_run_t);

/* Some neighbouring pixels into a block of sums, which all their taps are inside for. */
ALWAYS_INLINE void NAMED(gradient_tile)(NAMED(vector) (*sum)[GRADIENT_TAPS], const int rows, const int taps,
                                        const int pixels, const int slides, const correlation_t *c, const REAL *source,
                                        const REAL *gradient) {
    const int64_t row_step = c->delta[1] * c->source_stride[3], tap_step = c->delta[2] * c->source_stride[4];
    const int64_t pixel_step = c->step[2] * c->source_stride[4];
    NAMED(vector) factor[GRADIENT_PIXELS];
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++) factor[p] = NAMED(load)(gradient + p * c->result_stride[4]);
    if (slides) {
#pragma GCC unroll 11
        for (int q = 0; q < pixels + taps - 1; q++, source += tap_step) {
            const REAL *at = source;
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++, at += row_step) {
                NAMED(vector) x = NAMED(load)(at);
                LOADED_ONCE(x);
#pragma GCC unroll 4
                for (int p = 0; p < pixels; p++)
                    if (q >= p && q - p < taps) sum[i][q - p] += x * factor[p];
            }
        }
        return;
    }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++, source += pixel_step) {
        const REAL *at = source;
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++, at += tap_step)
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) sum[i][j] += NAMED(load)(at + i * row_step) * factor[p];
    }
}

/* What the pixels below will read first. */
ALWAYS_INLINE void NAMED(gradient_prefetch)(const correlation_t *c, const NAMED(gradient_run_t) *run, int64_t pixel) {
#pragma GCC unroll 4
    for (int p = 0; p < GRADIENT_PIXELS; p++)
        __builtin_prefetch(run->gradient_ahead + (pixel + p) * c->result_stride[4], 0, 2);
    for (int64_t row = 0; row < c->step[1]; row++)
        for (int64_t p = 0; p < GRADIENT_PIXELS * c->step[2]; p++)
            __builtin_prefetch(
                run->source_ahead + row * c->source_stride[3] + (pixel * c->step[2] + p) * c->source_stride[4], 0, 2);
}

/* One row of the gradient into a block of sums. `slides`: neighbouring pixels are as far apart as taps are. */
ALWAYS_INLINE void NAMED(gradient_run)(const int rows, const int taps, const int slides, const correlation_t *c,
                                       const NAMED(gradient_run_t) *run) {
    const int64_t row_step = c->delta[1] * c->source_stride[3], tap_step = c->delta[2] * c->source_stride[4];
    const int64_t pixel_step = c->step[2] * c->source_stride[4], pixels = c->pixels[2];
    NAMED(vector) sum[8][GRADIENT_TAPS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++) sum[i][j] = (NAMED(vector)){0};
    for (int64_t w = 0; w < pixels; w++) {
        if (w == run->begin) {
            for (; w + GRADIENT_PIXELS <= run->end; w += GRADIENT_PIXELS) {
                if (run->source_ahead != NULL) NAMED(gradient_prefetch)(c, run, w);
                NAMED(gradient_tile)(sum, rows, taps, GRADIENT_PIXELS, slides, c, run->source + w * pixel_step,
                                     run->gradient + w * c->result_stride[4]);
            }
            if (w == pixels) break;
        }
        const NAMED(vector) factor = NAMED(load)(run->gradient + w * c->result_stride[4]);
        const int64_t column = w * c->step[2] + run->left;
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++) {
            const int64_t at = column + j * c->delta[2];
            if (at < 0 || at >= c->source_size[2]) continue;
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                sum[i][j] += NAMED(load)(run->source + w * pixel_step + j * tap_step + i * row_step) * factor;
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++) {
            REAL *at = run->sums + (i * c->taps[2] + j) * LANES;
            NAMED(store)(at, NAMED(load)(at) + sum[i][j]);
        }
}

#define RUN(taps)                                                                                                      \
    static void NAMED(gradient_slide_##taps)(const correlation_t *c, const NAMED(gradient_run_t) *run) {               \
        NAMED(gradient_run)(1, taps, 1, c, run);                                                                       \
    }                                                                                                                  \
    static void NAMED(gradient_slides_##taps)(const correlation_t *c, const NAMED(gradient_run_t) *run) {              \
        NAMED(gradient_run)(GRADIENT_ROWS(taps), taps, 1, c, run);                                                     \
    }                                                                                                                  \
    static void NAMED(gradient_step_##taps)(const correlation_t *c, const NAMED(gradient_run_t) *run) {                \
        NAMED(gradient_run)(1, taps, 0, c, run);                                                                       \
    }                                                                                                                  \
    static void NAMED(gradient_steps_##taps)(const correlation_t *c, const NAMED(gradient_run_t) *run) {               \
        NAMED(gradient_run)(GRADIENT_ROWS(taps), taps, 0, c, run);                                                     \
    }
RUN(1)
RUN(2)
RUN(3)
RUN(4)
RUN(5)
RUN(6)
RUN(7)
RUN(8)
#undef RUN

/* [taps - 1][whether pixels slide][whether of several rows] */
static void (*const NAMED(gradient_runs)[GRADIENT_TAPS][2][2])(const correlation_t *, const NAMED(gradient_run_t) *) = {
#define RUNS(taps)                                                                                                     \
    {{NAMED(gradient_step_##taps), NAMED(gradient_steps_##taps)},                                                      \
     {NAMED(gradient_slide_##taps), NAMED(gradient_slides_##taps)}},
    RUNS(1) RUNS(2) RUNS(3) RUNS(4) RUNS(5) RUNS(6) RUNS(7) RUNS(8)
#undef RUNS
};

/* Tap rows [first, last) of one tap slice; `source` is where tap row 0 reads at the first pixel. `ahead`: the next row
 * of the gradient reads rows inside the source, which are far apart in memory, pixel by pixel: they are asked for. */
static void NAMED(gradient_rows)(const correlation_t *c, const REAL *source, const REAL *gradient, REAL *sums,
                                 int64_t first, int64_t last, int ahead) {
    const int slides = c->step[2] == c->delta[2];
    const int64_t blocks = div_up(c->taps[2], GRADIENT_TAPS), row_step = c->delta[1] * c->source_stride[3];
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t tap = block * c->taps[2] / blocks, taps = (block + 1) * c->taps[2] / blocks - tap;
        NAMED(gradient_run_t) run = {
            .source = source + first * row_step + tap * c->delta[2] * c->source_stride[4],
            .gradient = gradient,
            .sums = sums + (first * c->taps[2] + tap) * LANES,
            .left = c->first[2] + tap * c->delta[2],
        };
        if (ahead && block == 0) {
            run.gradient_ahead = gradient + c->result_stride[3];
            run.source_ahead = source + ((c->taps[1] - 1) * c->delta[1] + 1) * c->source_stride[3];
        }
        nhwc_interior(c, run.left, taps, &run.begin, &run.end);
        for (int64_t i = first, rows; i < last; i += rows) {
            rows = i + GRADIENT_ROWS(taps) <= last ? GRADIENT_ROWS(taps) : 1;
            NAMED(gradient_runs)[taps - 1][slides][rows > 1](c, &run);
            run.source_ahead = NULL;
            run.source += rows * row_step;
            run.sums += rows * c->taps[2] * LANES;
        }
    }
}

/* The same element by element, at any strides, for `channels` of them. */
static void NAMED(gradient_elements)(const correlation_t *c, const REAL *source, const REAL *gradient, REAL *sums,
                                     int64_t first, int64_t last, int64_t channels) {
    for (int64_t tap = first * c->taps[2]; tap < last * c->taps[2]; tap++) {
        const int64_t i = tap / c->taps[2], j = tap % c->taps[2];
        int64_t begin, end;
        nhwc_interior(c, c->first[2] + j * c->delta[2], 1, &begin, &end);
        const REAL *at = source + i * c->delta[1] * c->source_stride[3] + j * c->delta[2] * c->source_stride[4];
        for (int64_t channel = 0; channel < channels; channel++) {
            REAL sum = 0;
            for (int64_t w = begin; w < end; w++)
                sum += at[w * c->step[2] * c->source_stride[4] + channel * c->source_stride[1]] *
                       gradient[w * c->result_stride[4] + channel * c->result_stride[1]];
            sums[tap * LANES + channel] += sum;
        }
    }
}

/* Row `row` of the gradient, counted through all images, into the sums of vector `block` of the channels. */
static void NAMED(gradient_add_row)(const correlation_t *c, int64_t row, int64_t block, REAL *sums) {
    const int64_t h = row % c->pixels[1], d = row / c->pixels[1] % c->pixels[0], n = row / c->pixels[1] / c->pixels[0];
    const int64_t channel = NAMED(gradient_channel)(c, block);
    const int64_t top = h * c->step[1] + c->first[1], delta = c->delta[1];
    const int64_t next = top + (c->taps[1] - 1) * delta + 1;
    const int64_t first = top < 0 ? div_up(-top, delta) : 0;
    const int64_t last = top < c->source_size[1] ? min64(div_up(c->source_size[1] - top, delta), c->taps[1]) : 0;
    const int ahead = next + c->step[1] <= c->source_size[1] && max64(c->step[1], c->step[2]) <= 4;
    const REAL *gradient = (const REAL *)c->result + n * c->result_stride[0] + channel * c->result_stride[1] +
                           d * c->result_stride[2] + h * c->result_stride[3];
    for (int64_t slice = 0; slice < c->taps[0]; slice++, sums += c->taps[1] * c->taps[2] * LANES) {
        const int64_t depth = d * c->step[0] + c->first[0] + slice * c->delta[0];
        if (depth < 0 || depth >= c->source_size[0]) continue;
        const REAL *source = (const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1] +
                             depth * c->source_stride[2] + top * c->source_stride[3] +
                             c->first[2] * c->source_stride[4];
        if (NAMED(gradient_in_vectors)(c))
            NAMED(gradient_rows)(c, source, gradient, sums, first, last, ahead);
        else
            NAMED(gradient_elements)(c, source, gradient, sums, first, last, min64(LANES, c->groups - channel));
    }
}

static void NAMED(weight_gradient)(const void *data, int64_t item, void *scratch) {
    const row_splits_t *job = (const row_splits_t *)data;
    const NAMED(gradient_part_t) part = NAMED(gradient_part)(job, item);
    (void)scratch;
    for (int64_t row = part.begin; row < part.end; row++)
        for (int64_t block = part.first; block < part.last; block++)
            NAMED(gradient_add_row)(&job->correlation, row, block, part.sums + block * part.size);
}

/* An item is one vector of channels. */
static void NAMED(weight_reduce)(const void *data, int64_t item, void *scratch) {
    const row_splits_t *job = (const row_splits_t *)data;
    (void)scratch;
    NAMED(gradient_reduce)(job, item, NAMED(gradient_channel)(&job->correlation, item));
}
#undef GRADIENT_TAPS
#undef GRADIENT_PIXELS
#undef GRADIENT_SUMS
#undef GRADIENT_ROWS
