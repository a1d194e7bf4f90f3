/* Correlations as products of spectra: overlap-save tiles that are transformed, multiplied and transformed back in
 * cache.
 *
 *     result[f] = inverse( sum over c of  spectrum(source[c]) * conj(spectrum(weight[f, c])) )
 *
 * A tile has height x width points; the first height - reach rows and width - reach columns of the circular correlation
 * are results, the others have wrapped round. Of a signal (one row) a tile is one run of height * width points, whose
 * transform is that of an image but for the `long_twiddles` in between. Two tiles of an image are the real and the
 * imaginary part of one complex tile: kernels are real, so that the parts stay apart and nothing has to be separated.
 *
 * Layout. Points of a tile: [vector of a row][row][re, im][lane], columns transformed as they lie; then LANES rows at a
 * time are transposed to [column][re, im][row], transformed, multiplied, and go back the same way. Spectra keep
 * [LANES rows][column][re, im][row]. Preconditions: height and width are multiples of LANES; see job.h.
 * Numerics: errors are relative to the norm of a pair of tiles, see fourier.h; a non-finite element spoils its pair,
 * and its image is marked to be computed again. */

/* Pixels of an array that tiles are filled from. */
typedef struct {
    const REAL *base;
    int64_t stride[2];
    int64_t size[2];   /* what exists */
    int64_t inside[2]; /* rows and columns of a tile that count, of a signal 1 and the points; the others are zeros */
} NAMED(pixels_t);

/* First row and column of tile `number`, whose results begin there; beyond all tiles, one outside of the array. */
static inline void NAMED(tile_start)(const fft_fused_job_t *job, int64_t number, int64_t *start) {
    start[0] = number / job->tiles[1] * job->results[0];
    start[1] = number % job->tiles[1] * job->results[1];
}

/* A tile in an array: rows [begin, end) lie there as they are, the others are copied. */
typedef struct {
    const NAMED(pixels_t) *pixels;
    int64_t h, w;
    int64_t width;
    int64_t row_step, column_step; /* from a row of the tile to the next, in the array */
    int64_t low, high;             /* columns of the array that count */
    int64_t begin, end;
} NAMED(fft_fused_tile_t);

static NAMED(fft_fused_tile_t)
    NAMED(fft_fused_tile)(const fft_fused_job_t *job, const NAMED(pixels_t) *p, int64_t tile, const int64_t *first) {
    const int64_t width = job->across.size, is_image = job->long_twiddles == NULL;
    int64_t start[2];
    NAMED(tile_start)(job, tile, start);
    const int64_t h = start[0] + first[0], w = start[1] + first[1];
    NAMED(fft_fused_tile_t) t = {p, h, w, width, is_image, is_image ? 0 : width, max64(w, 0), 0, 0, 0};
    t.high = min64(p->size[1], w + p->inside[1]);
    if (p->stride[1] == 1 && is_image && t.low == w && t.high >= w + width) {
        t.begin = max64(-h, 0);
        t.end = min64(min64(p->size[0] - h, p->inside[0]), job->down.size);
    } else if (p->stride[1] == 1 && !is_image && h >= 0 && h < p->size[0]) {
        t.begin = div_up(t.low - w, width);
        t.end = min64(max64(t.high - w, 0) / width, job->down.size);
    }
    return t;
}

/* Row `r` of a tile, copied. */
static const REAL *NAMED(copy_of_row)(const NAMED(fft_fused_tile_t) *t, int64_t r, REAL *copy) {
    const NAMED(pixels_t) *p = t->pixels;
    const int64_t row = t->h + r * t->row_step, column = t->w + r * t->column_step;
    const int64_t begin = max64(t->low, column), end = min64(t->high, column + t->width);
    for (int64_t v = 0; v < t->width; v += LANES) NAMED(store)(copy + v, (NAMED(vector)){0});
    if (row >= 0 && row < p->size[0] && row < t->h + p->inside[0] && begin < end)
        NAMED(copy_rows)(copy + begin - column, 0, p->base + row * p->stride[0] + begin * p->stride[1], 0, p->stride[1],
                         end - begin, 1);
    return copy;
}

ALWAYS_INLINE const REAL *NAMED(tile_row)(const NAMED(fft_fused_tile_t) *t, int64_t r, REAL *copy) {
    if (r < t->begin || r >= t->end) return NAMED(copy_of_row)(t, r, copy);
    return t->pixels->base + (t->h + r * t->row_step) * t->pixels->stride[0] + t->w + r * t->column_step;
}

/* The transform of the columns of a pair of tiles; `copies`: for FFT_FUSED_COPIES rows. */
static void NAMED(transform_columns)(const fft_fused_job_t *job, const NAMED(pixels_t) *p, int64_t pair,
                                     const int64_t *first, REAL *tile, REAL *copies) {
    const transform_t *t = &job->down;
    const int64_t part = t->part[0], width = job->across.size, pitch = fft_fused_pitch(job, LANES);
    const REAL *twiddles = (const REAL *)t->twiddles;
    const NAMED(fft_fused_tile_t) tiles[2] = {NAMED(fft_fused_tile)(job, p, 2 * pair, first),
                                              NAMED(fft_fused_tile)(job, p, 2 * pair + 1, first)};
    NAMED(point_rows_t) rows = {.columns = {width, width}, .points = tile, .pitch = pitch, .step = part * 2 * LANES};
    for (int64_t j = 0; j < part; j++, rows.points += 2 * LANES, twiddles += 2 * (t->radix[0] - 1)) {
        for (int64_t k = 0; k < t->radix[0]; k++)
            for (int i = 0; i < 2; i++)
                rows.row[i][k] = (REAL *)NAMED(tile_row)(&tiles[i], j + k * part, copies + (2 * k + i) * width);
        NAMED(radix)(t->radix[0])->first(&rows, twiddles);
    }
    for (int64_t v = 0; v < width; v += LANES, tile += pitch) NAMED(fourier)(t, 1, t->stages, 0, tile, NULL);
}

/* Rows that will be read or stored, too short for hardware to foresee: of the two tiles of the source that come next
 * and of the results of this pair. */
typedef struct {
    const char *row[4];
    int64_t step[4];
    int64_t rows[4];
    int64_t lines[4];
} NAMED(ahead_t);

static void NAMED(set_ahead)(NAMED(ahead_t) *ahead, int i, const REAL *row, int64_t step, int64_t rows,
                             int64_t columns) {
    ahead->row[i] = (const char *)row;
    ahead->step[i] = step * REAL_BYTES;
    ahead->rows[i] = rows;
    ahead->lines[i] = div_up(columns * REAL_BYTES, LINE_BYTES) + 1;
}

/* Asks for rows [begin, end), into the second-level cache. */
ALWAYS_INLINE void NAMED(ask_ahead)(const NAMED(ahead_t) *ahead, int64_t begin, int64_t end) {
    if (ahead == NULL) return;
    for (int64_t r = begin; r < end; r++)
        for (int i = 0; i < 4; i++) {
            const char *row = ahead->row[i] + r * ahead->step[i];
            for (int64_t line = 0; line < ahead->lines[i] && r < ahead->rows[i]; line++)
                __builtin_prefetch(row + line * LINE_BYTES, 0, 2);
        }
}

/* LANES rows from `first` on, between a tile and [column][re, im][row]. */
static void NAMED(take_rows)(const fft_fused_job_t *job, const REAL *tile, int64_t first, REAL *rows,
                             const NAMED(ahead_t) *ahead) {
    const int64_t width = job->across.size;
    tile += first * 2 * LANES;
    for (int64_t v = 0; v < width; v += LANES, tile += fft_fused_pitch(job, LANES)) {
        NAMED(ask_ahead)(ahead, first + v * LANES / 2 / width, first + (v + LANES) * LANES / 2 / width);
        for (int part = 0; part < 2; part++) {
            NAMED(vector) square[LANES];
            REAL *to = rows + v * 2 * LANES + part * LANES;
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) square[i] = NAMED(load)(tile + (2 * i + part) * LANES);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) NAMED(store)(to + 2 * i * LANES, square[i]);
        }
    }
}

static void NAMED(put_rows)(const fft_fused_job_t *job, const REAL *rows, int64_t first, REAL *tile,
                            const NAMED(ahead_t) *ahead) {
    const int64_t width = job->across.size, half = first + LANES / 2;
    tile += first * 2 * LANES;
    for (int64_t v = 0; v < width; v += LANES, tile += fft_fused_pitch(job, LANES)) {
        NAMED(ask_ahead)(ahead, half + v * LANES / 2 / width, half + (v + LANES) * LANES / 2 / width);
        for (int part = 0; part < 2; part++) {
            NAMED(vector) square[LANES];
            const REAL *from = rows + v * 2 * LANES + part * LANES;
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) square[i] = NAMED(load)(from + 2 * i * LANES);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) NAMED(store)(tile + (2 * i + part) * LANES, square[i]);
        }
    }
}

/* `long_twiddles` of LANES rows from `first` on. */
ALWAYS_INLINE const REAL *NAMED(long_twiddles_of)(const fft_fused_job_t *job, int64_t first) {
    return job->long_twiddles == NULL ? NULL : (const REAL *)job->long_twiddles + first * job->across.size * 2;
}

static void NAMED(spectrum_of_rows)(const fft_fused_job_t *job, const REAL *tile, int64_t first, REAL *rows) {
    NAMED(take_rows)(job, tile, first, rows, NULL);
    NAMED(fourier)(&job->across, 0, job->across.stages, 0, rows, NAMED(long_twiddles_of)(job, first));
}

static void NAMED(rows_of_spectrum)(const fft_fused_job_t *job, REAL *rows, int64_t first, REAL *tile) {
    NAMED(fourier)(&job->across, 0, job->across.stages, 1, rows, NAMED(long_twiddles_of)(job, first));
    NAMED(put_rows)(job, rows, first, tile, NULL);
}

/* Rows of a tile, their spectrum times `kernel`, and back. */
static void NAMED(multiply_rows)(const fft_fused_job_t *job, REAL *tile, int64_t first, const REAL *kernel, REAL *rows,
                                 const NAMED(ahead_t) *ahead) {
    const transform_t *t = &job->across;
    const int64_t last = t->stages - 1;
    const REAL *long_twiddles = NAMED(long_twiddles_of)(job, first);
    NAMED(take_rows)(job, tile, first, rows, ahead);
    NAMED(fourier)(t, 0, last, 0, rows, long_twiddles);
    NAMED(radix)(t->radix[last])->middle(rows, t->size / t->radix[last], kernel);
    NAMED(fourier)(t, 0, last, 1, rows, long_twiddles);
    NAMED(put_rows)(job, rows, first, tile, ahead);
}

/* to = (sums + ) a * b, or with `conjugate` a * conj(b), of `points` points. */
ALWAYS_INLINE void NAMED(multiply_spectra)(REAL *to, const REAL *a, const REAL *b, int64_t points, const int adds,
                                           const int conjugate) {
    for (int64_t i = 0; i < 2 * points; i += 2 * LANES) {
        const COMPLEX x = NAMED(complex_at)(a + i), y = NAMED(complex_at)(b + i);
        COMPLEX z = conjugate ? NAMED(product_conj)(x, y) : NAMED(product)(x, y);
        if (adds) z = NAMED(plus)(NAMED(complex_at)(to + i), z);
        NAMED(put_complex)(to + i, z);
    }
}

/* Spectrum of the kernel of (group, filter, channel), conjugated and divided by the points. Item: one kernel. */
static void NAMED(pack)(const void *opaque, int64_t item, void *scratch) {
    const fft_fused_job_t *job = opaque;
    const correlation_t *c = &job->correlation;
    const int64_t height = job->down.size, width = job->across.size, points = fft_fused_points(job);
    const int64_t filter = item / c->channels % c->filters, group = item / c->channels / c->filters;
    const REAL *weight = (const REAL *)c->weight + group * c->weight_group_stride + filter * c->weight_stride[0] +
                         item % c->channels * c->weight_stride[1];
    const REAL factor = (REAL)1 / (REAL)points;
    REAL *tile = scratch, *spectrum = (REAL *)job->spectra + item * 2 * points;
    const int64_t pitch = fft_fused_pitch(job, LANES);
    memset(tile, 0, fft_fused_tile_size(job, LANES) * sizeof *tile);
    for (int64_t r = 0; r < c->taps[1]; r++)
        for (int64_t s = 0; s < c->taps[2]; s++) {
            const int64_t row = r * c->delta[1] + s * c->delta[2] / width, column = s * c->delta[2] % width;
            tile[column / LANES * pitch + row * 2 * LANES + column % LANES] =
                weight[r * c->weight_stride[3] + s * c->weight_stride[4]] * factor;
        }
    for (int64_t v = 0; v < width; v += LANES)
        NAMED(fourier)(&job->down, 0, job->down.stages, 0, tile + v / LANES * pitch, NULL);
    for (int64_t first = 0; first < height; first += LANES) {
        REAL *rows = spectrum + first * width * 2;
        NAMED(spectrum_of_rows)(job, tile, first, rows);
        for (int64_t i = 0; i < width * 2 * LANES; i += 2 * LANES)
            NAMED(store)(rows + i + LANES, -NAMED(load)(rows + i + LANES));
    }
}

/* Results of a tile in the array: rows [0, end) can be stored there as they are, a row of `rest` columns follows. */
typedef struct {
    REAL *base; /* of the first result */
    int64_t start[2];
    int64_t rows, columns;
    int64_t row_step, end, rest;
    int64_t width; /* columns of a row that is stored */
} NAMED(results_t);

static NAMED(results_t) NAMED(results_of)(const fft_fused_job_t *job, int64_t n, int64_t channel, int64_t tile) {
    const correlation_t *c = &job->correlation;
    const int64_t *stride = c->result_stride, width = job->across.size;
    NAMED(results_t) r = {.width = width};
    NAMED(tile_start)(job, tile, r.start);
    r.base = (REAL *)c->result + n * stride[0] + channel * stride[1] + r.start[0] * stride[3] + r.start[1] * stride[4];
    r.rows = max64(min64(job->results[0], c->pixels[1] - r.start[0]), 0);
    r.columns = r.rows > 0 ? max64(min64(job->results[1], c->pixels[2] - r.start[1]), 0) : 0;
    if (job->long_twiddles == NULL) {
        r.row_step = stride[3];
        r.end = r.rows;
        r.width = r.columns;
    } else {
        r.row_step = width * stride[4];
        r.end = r.columns / width;
        r.rest = r.columns % width;
    }
    return r;
}

static void NAMED(finish_results)(const fft_fused_job_t *job, const NAMED(results_t) *results, int64_t n,
                                  int64_t channel) {
    const epilogue_t *e = &job->epilogue;
    const int64_t *stride = job->correlation.result_stride, *start = results->start;
    const REAL *add = (const REAL *)e->add;
    if (add != NULL)
        add += n * e->add_stride[0] + channel * e->add_stride[1] + start[0] * e->add_stride[3] +
               start[1] * e->add_stride[4];
    const NAMED(finish_t) finished = {.rows = results->rows,
                                      .count = results->columns,
                                      .result = results->base,
                                      .row_stride = stride[3],
                                      .stride = stride[4],
                                      .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + channel,
                                      .add = add,
                                      .add_row_stride = e->add_stride[3],
                                      .add_stride = e->add_stride[4]};
    if (!NAMED(epilogue_is_empty)(e)) NAMED(finish_rows)(e, &finished);
}

/* Where row `r` of a tile is stored; in `copy` if it is not a row of the array or not whole. */
ALWAYS_INLINE REAL *NAMED(result_row)(const NAMED(results_t) *results, int64_t stride, int64_t r, REAL *copy) {
    return r < results->end && stride == 1 ? results->base + r * results->row_step : copy;
}

static void NAMED(store_copy)(const NAMED(results_t) *results, int64_t stride, int64_t r, const REAL *copy) {
    const int64_t columns = r < results->end ? results->width : r == results->end ? results->rest : 0;
    if (columns > 0 && (stride != 1 || r == results->end))
        NAMED(spread_rows)(results->base + r * results->row_step, 0, stride, 0, copy, 0, columns, 1);
}

/* The inverse transform of the columns of a pair of tiles into the array; `copies`: for FFT_FUSED_COPIES rows. */
static void NAMED(store_columns)(const fft_fused_job_t *job, int64_t n, int64_t channel, int64_t pair, REAL *tile,
                                 REAL *copies) {
    const transform_t *t = &job->down;
    const int64_t part = t->part[0], width = job->across.size, pitch = fft_fused_pitch(job, LANES);
    const int64_t stride = job->correlation.result_stride[4];
    const NAMED(results_t) results[2] = {NAMED(results_of)(job, n, channel, 2 * pair),
                                         NAMED(results_of)(job, n, channel, 2 * pair + 1)};
    const REAL *twiddles = (const REAL *)t->twiddles;
    NAMED(point_rows_t)
    rows = {.columns = {results[0].width, results[1].width}, .points = tile, .pitch = pitch, .step = part * 2 * LANES};
    COMPLEX zero = {{0}, {0}};
    for (int64_t v = 0; v < width; v += LANES, tile += pitch) NAMED(fourier)(t, 1, t->stages, 1, tile, NULL);
    for (int64_t j = 0; j < part; j++, rows.points += 2 * LANES, twiddles += 2 * (t->radix[0] - 1)) {
        for (int64_t k = 0; k < t->radix[0]; k++)
            for (int i = 0; i < 2; i++)
                rows.row[i][k] = NAMED(result_row)(&results[i], stride, j + k * part, copies + (2 * k + i) * width);
        zero = NAMED(plus)(zero, NAMED(radix)(t->radix[0])->final(&rows, twiddles));
        for (int64_t k = 0; k < t->radix[0]; k++)
            for (int i = 0; i < 2; i++) NAMED(store_copy)(&results[i], stride, j + k * part, rows.row[i][k]);
    }
    zero.re += zero.im;
    REAL sum = 0;
    for (int l = 0; l < LANES; l++) sum += zero.re[l];
    if (!(sum == 0)) job->spoiled[n] = 1;
    for (int i = 0; i < 2; i++) NAMED(finish_results)(job, &results[i], n, channel);
}

/* The spectrum of a pair of tiles of a channel; `tile` is overwritten, `copies`: for FFT_FUSED_COPIES rows. */
static void NAMED(spectrum_of_pair)(const fft_fused_job_t *job, const NAMED(pixels_t) *p, int64_t pair,
                                    const int64_t *first, REAL *tile, REAL *copies, REAL *spectrum) {
    NAMED(transform_columns)(job, p, pair, first, tile, copies);
    for (int64_t row = 0; row < job->down.size; row += LANES)
        NAMED(spectrum_of_rows)(job, tile, row, spectrum + row * job->across.size * 2);
}

static NAMED(pixels_t) NAMED(source_pixels)(const correlation_t *c, int64_t n, int64_t channel) {
    return (NAMED(pixels_t)){(const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1],
                             {c->source_stride[3], c->source_stride[4]},
                             {c->source_size[1], c->source_size[2]},
                             {INT64_MAX / 4, INT64_MAX / 4}};
}

static NAMED(ahead_t) NAMED(ahead_of)(const fft_fused_job_t *job, int64_t item) {
    const correlation_t *c = &job->correlation;
    const int64_t pairs = fft_fused_pairs(job), next = item + 1 < fft_fused_items(job) ? item + 1 : item;
    const NAMED(pixels_t) p = NAMED(source_pixels)(c, next / pairs % c->batch, next / pairs / c->batch);
    NAMED(ahead_t) ahead;
    for (int i = 0; i < 2; i++) {
        const NAMED(fft_fused_tile_t) t = NAMED(fft_fused_tile)(job, &p, 2 * (next % pairs) + i, c->first + 1);
        const NAMED(results_t) r =
            NAMED(results_of)(job, item / pairs % c->batch, item / pairs / c->batch, 2 * (item % pairs) + i);
        const int64_t step = t.row_step * p.stride[0] + t.column_step;
        NAMED(set_ahead)(&ahead, i, p.base + t.h * p.stride[0] + t.w, step, p.stride[1] == 1 ? t.end : 0, t.width);
        NAMED(set_ahead)(&ahead, 2 + i, r.base, r.row_step, c->result_stride[4] == 1 ? r.end : 0, r.width);
    }
    return ahead;
}

/* Spectra of a filter's result from those of all channels, and back into the tile. */
static void NAMED(multiply_channels)(const fft_fused_job_t *job, const REAL *spectra, const REAL *kernel, REAL *tile,
                                     REAL *rows) {
    const int64_t points = fft_fused_points(job), of_rows = LANES * job->across.size;
    for (int64_t row = 0; row < job->down.size; row += LANES) {
        const int64_t at = row * job->across.size * 2;
        for (int64_t i = 0; i < job->correlation.channels; i++)
            NAMED(multiply_spectra)(rows, spectra + i * 2 * points + at, kernel + i * 2 * points + at, of_rows, i > 0,
                                    0);
        NAMED(rows_of_spectrum)(job, rows, row, tile);
    }
}

/* Item: one pair of tiles of one image and group, all filters. Scratch: the tile, LANES rows of it, and with several
 * channels or filters the spectra of all channels. */
static void NAMED(correlate)(const void *opaque, int64_t item, void *scratch) {
    const fft_fused_job_t *job = opaque;
    const correlation_t *c = &job->correlation;
    const int64_t pairs = fft_fused_pairs(job), points = fft_fused_points(job);
    const int64_t pair = item % pairs, n = item / pairs % c->batch, group = item / pairs / c->batch;
    REAL *tile = scratch, *rows = tile + fft_fused_tile_size(job, LANES),
         *spectra = rows + fft_fused_rows_size(job, LANES);
    const REAL *kernel = (const REAL *)job->spectra + group * c->filters * c->channels * 2 * points;
    if (c->channels * c->filters == 1) {
        const NAMED(pixels_t) p = NAMED(source_pixels)(c, n, group);
        NAMED(transform_columns)(job, &p, pair, c->first + 1, tile, rows);
        const NAMED(ahead_t) ahead = NAMED(ahead_of)(job, item);
        for (int64_t row = 0; row < job->down.size; row += LANES)
            NAMED(multiply_rows)(job, tile, row, kernel + row * job->across.size * 2, rows, &ahead);
        NAMED(store_columns)(job, n, group, pair, tile, rows);
        return;
    }
    for (int64_t i = 0; i < c->channels; i++) {
        const NAMED(pixels_t) p = NAMED(source_pixels)(c, n, group * c->channels + i);
        NAMED(spectrum_of_pair)(job, &p, pair, c->first + 1, tile, rows, spectra + i * 2 * points);
    }
    for (int64_t f = 0; f < c->filters; f++, kernel += c->channels * 2 * points) {
        NAMED(multiply_channels)(job, spectra, kernel, tile, rows);
        NAMED(store_columns)(job, n, group * c->filters + f, pair, tile, rows);
    }
}
