/* Correlations as products of spectra: overlap-save tiles that are transformed, multiplied and transformed back in
 * cache.
 *
 *     result[f] = inverse( sum over c of  spectrum(source[c]) * conj(spectrum(weight[f, c])) )
 *
 * A tile has height x width points; the first height - reach rows and width - reach columns of the circular correlation
 * are results, the others have wrapped round. Of a signal (one row) a tile is one run of height * width points, whose
 * transform is that of an image but for the `turns` in between. Two tiles of an image are the real and the imaginary
 * part of one complex tile: kernels are real, so that the parts stay apart and nothing has to be separated.
 *
 * Layout. Points of a tile: [vector of a row][row][re, im][lane], columns transformed as they lie; then LANES rows at a
 * time are transposed to [column][re, im][row], transformed, multiplied, and go back the same way. Spectra keep
 * [LANES rows][column][re, im][row]. Preconditions: height and width are multiples of LANES; see spectral_job.h.
 * Numerics: errors are relative to the norm of a pair of tiles, see fourier.h; a non-finite element spoils its pair,
 * and its image is marked to be computed again. */

/* Pixels of an array that tiles are filled from. */
typedef struct {
    const REAL *base;
    int64_t stride[2];
    int64_t size[2];  /* what exists */
    int64_t inside[2]; /* rows and columns of a tile that count, of a signal 1 and the points; the others are zeros */
} NAMED(pixels_t);

/* First row and column of tile `number`, whose results begin there; beyond all tiles, one outside of the array. */
static inline void NAMED(tile_start)(const spectral_job_t *job, int64_t number, int64_t *start) {
    start[0] = number / job->tiles[1] * job->results[0];
    start[1] = number % job->tiles[1] * job->results[1];
}

/* LANES points from `column` on, of which those in [begin, end) exist. */
ALWAYS_INLINE NAMED(vector) NAMED(points_at)(const REAL *row, int64_t stride, int64_t column, int64_t begin,
                                             int64_t end) {
    if (stride == 1 && column >= begin && column + LANES <= end) return NAMED(load)(row + column);
    NAMED(vector) some = {0};
    const int64_t last = min64(end - column, LANES);
    for (int64_t l = max64(begin - column, 0); l < last; l++) some[l] = row[(column + l) * stride];
    return some;
}

/* The points of a tile that begins at (h, w) into the real or the imaginary part of `tile`. */
static void NAMED(fill_part)(const spectral_job_t *job, const NAMED(pixels_t) *p, int64_t h, int64_t w, REAL *tile) {
    const int64_t height = job->down.size, width = job->across.size;
    const int64_t begin = max64(w, 0), end = min64(p->size[1], w + p->inside[1]);
    for (int64_t v = 0; v < width; v += LANES)
        for (int64_t r = 0; r < height; r++, tile += 2 * LANES) {
            const int64_t row = job->turns == NULL ? h + r : h, column = w + v + (job->turns == NULL ? 0 : r * width);
            const int exists = row >= 0 && row < p->size[0] && row < h + p->inside[0];
            NAMED(store)(tile, exists ? NAMED(points_at)(p->base + row * p->stride[0], p->stride[1], column, begin, end)
                                      : (NAMED(vector)){0});
        }
}

static void NAMED(fill_pair)(const spectral_job_t *job, const NAMED(pixels_t) *p, int64_t pair, const int64_t *first,
                             REAL *tile) {
    for (int part = 0; part < 2; part++) {
        int64_t start[2];
        NAMED(tile_start)(job, 2 * pair + part, start);
        NAMED(fill_part)(job, p, start[0] + first[0], start[1] + first[1], tile + part * LANES);
    }
}

static void NAMED(transform_columns)(const spectral_job_t *job, REAL *tile, const int inverse) {
    for (int64_t v = 0; v < job->across.size; v += LANES, tile += job->down.size * 2 * LANES)
        (inverse ? NAMED(fourier_back) : NAMED(fourier))(&job->down, tile);
}

/* LANES rows from `first` on, between a tile and [column][re, im][row]. */
static void NAMED(take_rows)(const spectral_job_t *job, const REAL *tile, int64_t first, REAL *rows) {
    tile += first * 2 * LANES;
    for (int64_t v = 0; v < job->across.size; v += LANES, tile += job->down.size * 2 * LANES)
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

static void NAMED(put_rows)(const spectral_job_t *job, const REAL *rows, int64_t first, REAL *tile) {
    tile += first * 2 * LANES;
    for (int64_t v = 0; v < job->across.size; v += LANES, tile += job->down.size * 2 * LANES)
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

/* What is between the columns and the rows of a signal's transform. */
static void NAMED(turn_rows)(const spectral_job_t *job, int64_t first, REAL *rows, const int inverse) {
    if (job->turns == NULL) return;
    const REAL *turn = (const REAL *)job->turns + first * job->across.size * 2;
    for (int64_t i = 0; i < job->across.size * 2 * LANES; i += 2 * LANES) {
        const COMPLEX x = NAMED(complex_at)(rows + i), by = NAMED(complex_at)(turn + i);
        NAMED(put_complex)(rows + i, inverse ? NAMED(product_conj)(x, by) : NAMED(product)(x, by));
    }
}

static void NAMED(spectrum_of_rows)(const spectral_job_t *job, const REAL *tile, int64_t first, REAL *rows) {
    NAMED(take_rows)(job, tile, first, rows);
    NAMED(turn_rows)(job, first, rows, 0);
    NAMED(fourier)(&job->across, rows);
}

static void NAMED(rows_of_spectrum)(const spectral_job_t *job, REAL *rows, int64_t first, REAL *tile) {
    NAMED(fourier_back)(&job->across, rows);
    NAMED(turn_rows)(job, first, rows, 1);
    NAMED(put_rows)(job, rows, first, tile);
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
static void NAMED(spectral_pack)(const void *opaque, int64_t item, void *scratch) {
    const spectral_job_t *job = opaque;
    const correlation_t *c = &job->sum;
    const int64_t height = job->down.size, width = job->across.size, points = spectral_points(job);
    const int64_t filter = item / c->channels % c->filters, group = item / c->channels / c->filters;
    const REAL *weight = (const REAL *)c->weight + group * c->weight_group_stride + filter * c->weight_stride[0] +
                         item % c->channels * c->weight_stride[1];
    const REAL factor = (REAL)1 / (REAL)points;
    REAL *tile = scratch, *spectrum = (REAL *)job->spectra + item * 2 * points;
    memset(tile, 0, 2 * points * sizeof *tile);
    for (int64_t r = 0; r < c->taps[1]; r++)
        for (int64_t s = 0; s < c->taps[2]; s++) {
            const int64_t row = r * c->delta[1] + s * c->delta[2] / width, column = s * c->delta[2] % width;
            tile[((column / LANES * height + row) * 2) * LANES + column % LANES] =
                weight[r * c->weight_stride[3] + s * c->weight_stride[4]] * factor;
        }
    NAMED(transform_columns)(job, tile, 0);
    for (int64_t first = 0; first < height; first += LANES) {
        REAL *rows = spectrum + first * width * 2;
        NAMED(spectrum_of_rows)(job, tile, first, rows);
        for (int64_t i = 0; i < width * 2 * LANES; i += 2 * LANES)
            NAMED(store)(rows + i + LANES, -NAMED(load)(rows + i + LANES));
    }
}

/* The results of one part of a pair into the array; returns 0 times their sum: not 0 if any is not finite. */
static REAL NAMED(store_part_of_pair)(const spectral_job_t *job, int64_t n, int64_t channel, const int64_t *start,
                                      const REAL *tile) {
    const correlation_t *c = &job->sum;
    const int64_t height = job->down.size, width = job->across.size, stride = c->result_stride[4];
    const int64_t rows = min64(job->results[0], c->pixels[1] - start[0]);
    const int64_t columns = min64(job->results[1], c->pixels[2] - start[1]);
    REAL *result = (REAL *)c->result + n * c->result_stride[0] + channel * c->result_stride[1] +
                   start[0] * c->result_stride[3] + start[1] * stride;
    NAMED(vector) zero = {0};
    const int64_t lines = job->turns == NULL ? rows : rows > 0 ? div_up(columns, width) : 0;
    for (int64_t v = 0; v < width; v += LANES, tile += height * 2 * LANES)
        for (int64_t r = 0; r < lines; r++) {
            const int64_t column = v + (job->turns == NULL ? 0 : r * width), count = min64(columns - column, LANES);
            const NAMED(vector) values = NAMED(load)(tile + r * 2 * LANES);
            REAL *to = result + (job->turns == NULL ? r * c->result_stride[3] : 0) + column * stride;
            if (count <= 0) continue;
            zero += values * 0;
            if (stride == 1 && count == LANES)
                NAMED(store)(to, values);
            else if (stride == 1)
                NAMED(copy_few)(to, (const REAL *)&values, count);
            else
                for (int64_t l = 0; l < count; l++) to[l * stride] = values[l];
        }
    const epilogue_t *e = &job->epilogue;
    for (int64_t r = 0; r < rows && columns > 0 && !NAMED(epilogue_is_empty)(e); r++)
        NAMED(epilogue_run)(e, result + r * c->result_stride[3], stride, columns,
                            e->bias == NULL ? NULL : (const REAL *)e->bias + channel, 0,
                            e->add == NULL ? NULL
                                           : (const REAL *)e->add + n * e->add_stride[0] + channel * e->add_stride[1] +
                                                 (start[0] + r) * e->add_stride[3] + start[1] * e->add_stride[4],
                            e->add_stride[4]);
    REAL sum = 0;
    for (int l = 0; l < LANES; l++) sum += zero[l];
    return sum;
}

static void NAMED(store_pair)(const spectral_job_t *job, int64_t n, int64_t channel, int64_t pair, const REAL *tile) {
    for (int part = 0; part < 2; part++) {
        int64_t start[2];
        NAMED(tile_start)(job, 2 * pair + part, start);
        if (!(NAMED(store_part_of_pair)(job, n, channel, start, tile + part * LANES) == 0)) job->spoiled[n] = 1;
    }
}

/* The spectrum of a pair of tiles of a channel; `tile` is overwritten. */
static void NAMED(spectrum_of_pair)(const spectral_job_t *job, const NAMED(pixels_t) *p, int64_t pair,
                                    const int64_t *first, REAL *tile, REAL *spectrum) {
    NAMED(fill_pair)(job, p, pair, first, tile);
    NAMED(transform_columns)(job, tile, 0);
    for (int64_t row = 0; row < job->down.size; row += LANES)
        NAMED(spectrum_of_rows)(job, tile, row, spectrum + row * job->across.size * 2);
}

static NAMED(pixels_t) NAMED(source_pixels)(const correlation_t *c, int64_t n, int64_t channel) {
    return (NAMED(pixels_t)){(const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1],
                             {c->source_stride[3], c->source_stride[4]},
                             {c->source_size[1], c->source_size[2]},
                             {INT64_MAX / 4, INT64_MAX / 4}};
}

/* Item: one pair of tiles of one image and group, all filters. Scratch: the tile, LANES rows of it, and with several
 * channels or filters the spectra of all channels. */
static void NAMED(spectral_correlate)(const void *opaque, int64_t item, void *scratch) {
    const spectral_job_t *job = opaque;
    const correlation_t *c = &job->sum;
    const int64_t pairs = spectral_pairs(job), points = spectral_points(job), of_rows = LANES * job->across.size;
    const int64_t pair = item % pairs, n = item / pairs % c->batch, group = item / pairs / c->batch;
    const int single = c->channels * c->filters == 1;
    REAL *tile = scratch, *rows = tile + 2 * points, *spectra = rows + 2 * of_rows;
    const REAL *kernel = (const REAL *)job->spectra + group * c->filters * c->channels * 2 * points;
    for (int64_t i = 0; i < c->channels; i++) {
        const NAMED(pixels_t) p = NAMED(source_pixels)(c, n, group * c->channels + i);
        if (single) {
            NAMED(fill_pair)(job, &p, pair, c->first + 1, tile);
            NAMED(transform_columns)(job, tile, 0);
        } else {
            NAMED(spectrum_of_pair)(job, &p, pair, c->first + 1, tile, spectra + i * 2 * points);
        }
    }
    for (int64_t f = 0; f < c->filters; f++, kernel += c->channels * 2 * points) {
        for (int64_t row = 0; row < job->down.size; row += LANES) {
            const int64_t at = row * job->across.size * 2;
            if (single) {
                NAMED(spectrum_of_rows)(job, tile, row, rows);
                NAMED(multiply_spectra)(rows, rows, kernel + at, of_rows, 0, 0);
            } else {
                NAMED(multiply_spectra)(rows, spectra + at, kernel + at, of_rows, 0, 0);
                for (int64_t i = 1; i < c->channels; i++)
                    NAMED(multiply_spectra)(rows, spectra + i * 2 * points + at, kernel + i * 2 * points + at, of_rows,
                                            1, 0);
            }
            NAMED(rows_of_spectrum)(job, rows, row, tile);
        }
        NAMED(transform_columns)(job, tile, 1);
        NAMED(store_pair)(job, n, group * c->filters + f, pair, tile);
    }
}
