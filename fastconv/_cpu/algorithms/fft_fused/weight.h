/* Weight gradients as products of spectra; fft_fused.h has the tiles and their layout.
 *
 *     weight[f, c] = inverse( sum over n, tiles of  spectrum(source[c]) * conj(spectrum(gradient[f])) )
 *
 * Tiles of the gradient are zero outside of their results. Of two tiles as the parts of a complex one the real part of
 * the sum is the sum of both. Pairs are summed in `partials` parts, in a fixed order. */

/* Item: a round of one part of the pairs of one group, added up in job->spectra[partial]. Scratch: the tile and the
 * spectra of all channels and of one filter. */
static void NAMED(gradient)(const void *opaque, int64_t item, void *scratch) {
    const fft_fused_job_t *job = opaque;
    const correlation_t *c = &job->correlation;
    const int64_t pairs = fft_fused_pairs(job), points = fft_fused_points(job), total = c->batch * pairs;
    const int64_t partial = item / c->groups, group = item % c->groups, kernels = c->filters * c->channels;
    const int64_t begin = total * partial / job->partials, end = total * (partial + 1) / job->partials;
    const int64_t origin[2] = {0, 0};
    REAL *tile = scratch, *rows = tile + fft_fused_tile_size(job, LANES),
         *of_filter = rows + fft_fused_rows_size(job, LANES);
    REAL *of_channels = of_filter + 2 * points;
    REAL *sums = (REAL *)job->spectra + (partial * c->groups + group) * kernels * 2 * points;
    if (job->round_first == 0) memset(sums, 0, kernels * 2 * points * sizeof *sums);
    const int64_t first = begin + job->round_first, last = min64(first + job->round_pairs, end);
    for (int64_t i = first; i < last; i++) {
        const int64_t n = i / pairs, pair = i % pairs;
        for (int64_t j = 0; j < c->channels; j++) {
            const NAMED(pixels_t) p = NAMED(source_pixels)(c, n, group * c->channels + j);
            NAMED(spectrum_of_pair)(job, &p, pair, c->first + 1, tile, rows, of_channels + j * 2 * points);
        }
        for (int64_t f = 0; f < c->filters; f++) {
            const NAMED(pixels_t) p = {(const REAL *)c->result + n * c->result_stride[0] +
                                           (group * c->filters + f) * c->result_stride[1],
                                       {c->result_stride[3], c->result_stride[4]},
                                       {c->pixels[1], c->pixels[2]},
                                       {job->results[0], job->results[1]}};
            NAMED(spectrum_of_pair)(job, &p, pair, origin, tile, rows, of_filter);
            for (int64_t j = 0; j < c->channels; j++)
                NAMED(multiply_spectra)(sums + (f * c->channels + j) * 2 * points, of_channels + j * 2 * points,
                                        of_filter, points, 1, 1);
        }
    }
}

/* Item: one kernel, from the sums of all parts. Scratch: the tile and LANES rows of it. */
static void NAMED(reduce)(const void *opaque, int64_t item, void *scratch) {
    const fft_fused_job_t *job = opaque;
    const correlation_t *c = &job->correlation;
    const int64_t height = job->down.size, width = job->across.size, points = fft_fused_points(job);
    const int64_t filter = item / c->channels % c->filters, group = item / c->channels / c->filters;
    const int64_t pitch = fft_fused_pitch(job, LANES);
    REAL *tile = scratch, *rows = tile + fft_fused_tile_size(job, LANES);
    REAL *weight = (REAL *)c->weight + group * c->weight_group_stride + filter * c->weight_stride[0] +
                   item % c->channels * c->weight_stride[1];
    const REAL factor = (REAL)1 / (REAL)points;
    for (int64_t first = 0; first < height; first += LANES) {
        const REAL *sums = (const REAL *)job->spectra + (item * points + first * width) * 2;
        for (int64_t i = 0; i < 2 * LANES * width; i += LANES) {
            NAMED(vector) sum = NAMED(load)(sums + i);
            for (int64_t partial = 1; partial < job->partials; partial++)
                sum += NAMED(load)(sums + partial * fft_fused_kernels(job) * 2 * points + i);
            NAMED(store)(rows + i, sum);
        }
        NAMED(rows_of_spectrum)(job, rows, first, tile);
    }
    for (int64_t v = 0; v < width; v += LANES)
        NAMED(fourier)(&job->down, 0, job->down.stages, 1, tile + v / LANES * pitch, NULL);
    REAL zero = 0;
    for (int64_t r = 0; r < c->taps[1]; r++)
        for (int64_t s = 0; s < c->taps[2]; s++) {
            const int64_t row = r * c->delta[1] + s * c->delta[2] / width, column = s * c->delta[2] % width;
            const REAL value = tile[column / LANES * pitch + row * 2 * LANES + column % LANES] * factor;
            zero += value * 0;
            weight[r * c->weight_stride[3] + s * c->weight_stride[4]] = value;
        }
    if (!(zero == 0)) job->spoiled[0] = 1;
}
#undef COMPLEX
#undef FUSES
