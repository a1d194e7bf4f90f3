/* backward_weight by direct kernels; see direct_job.h for the items and the layout of scratch.
 *
 *     weight[k, c, t] = sum over n, p of panel[n, c][p*step + t] * gradient[n, k, p]
 *
 * The tile's factors are vectors of the output gradient, its sources the source shifted by one tap each; sums stay in
 * lanes until the item is done. One filter per group (or per lane) slides: a source row that is loaded once meets up to
 * DIRECT_ROWS rows of the gradient. Numerics: each region is summed from zero and added to the sums of those before it,
 * then lanes and parts are added in order, so that the bits depend on the problem alone. */

/* Source rows as the tile reads them: a whole panel, or the right-hand ends of its rows. */
typedef struct {
    const REAL *base;
    int64_t slice_pitch;
    int64_t row_pitch;
    int64_t tap_pitch; /* of the ends; 0: taps lie where direct_tap_offset says */
    int64_t vectors;
    int64_t first; /* of the vectors in a row of the gradient */
} NAMED(rows_t);

typedef struct {
    const direct_job_t *job;
    direct_region_t region;
    direct_window_t window;
    int64_t filter;
    int64_t filters;
    NAMED(channels_t) sources;
    NAMED(channels_t) results;
    int64_t vector; /* from one vector of a row to the next, in elements */
    REAL *panel;
    REAL *gradient; /* [filter][slice][row][out_pitch] */
    REAL *ends;     /* [width tap][slice][row][lane] */
    REAL *sums;
    direct_slice_t *slices;
    int64_t *offsets;
} NAMED(gradient_turn_t);

/* The vectors that run over the end of their row, once per tap: what is not of the region is 0, so that 0 * inf of
 * lanes without a pixel cannot spoil a sum. */
static NAMED(rows_t) NAMED(cut_ends)(const NAMED(gradient_turn_t) *t) {
    const int64_t slices = t->window.count[0], rows = t->window.count[1];
    const int64_t first = t->region.count[2] / LANES, rest = t->region.count[2] % LANES;
    REAL *to = t->ends;
    for (int64_t tap = 0; tap < t->job->correlation.taps[2]; tap++)
        for (int64_t d = 0; d < slices; d++)
            for (int64_t h = 0; h < rows; h++, to += LANES) {
                const REAL *from = t->panel + d * t->window.pitch[0] + h * t->window.pitch[1] +
                                   direct_tap_offset(t->job, tap) + first * LANES;
                for (int64_t l = 0; l < LANES; l++) to[l] = l < rest ? from[l] : 0;
            }
    return (NAMED(rows_t)){t->ends, rows * LANES, LANES, slices * rows * LANES, 1, first};
}

/* Adds to the sums of `channel` at slice tap d and row taps tap, tap + step, ... (p->count of them, or of filters). */
static void NAMED(add_tap_rows)(const NAMED(gradient_turn_t) *t, const NAMED(rows_t) *rows, NAMED(product_t) *p,
                                int64_t channel, int64_t d, int64_t tap) {
    const correlation_t *c = &t->job->correlation;
    const int64_t width_taps = c->taps[2];
    REAL *sums = t->sums + ((channel * c->taps[0] + d) * c->taps[1] + tap) * width_taps * t->vector;
    for (int64_t w = 0; w < width_taps;) {
        const REAL *source[DIRECT_WIDEST];
        REAL *target[DIRECT_WIDEST];
        const int64_t width = NAMED(tile_width)(width_taps - w, p->count);
        for (int64_t b = 0; b < width; b++, w++) {
            const int64_t shift = rows->tap_pitch ? w * rows->tap_pitch : direct_tap_offset(t->job, w);
            source[b] = rows->base + tap * rows->row_pitch + shift;
            target[b] = sums + w * t->vector;
        }
        p->factor = t->gradient + rows->first * t->vector;
        for (int64_t lane = 0; lane < t->vector; lane += LANES) {
            NAMED(direct_tile)(0, width)(p, source, target);
            p->factor += LANES;
            for (int64_t b = 0; b < width; b++) {
                source[b] += LANES;
                target[b] += LANES;
            }
        }
    }
}

static void NAMED(add_rows)(const NAMED(gradient_turn_t) *t, const NAMED(rows_t) *rows, int64_t channel) {
    const direct_job_t *job = t->job;
    const correlation_t *c = &job->correlation;
    const int64_t step = direct_step(c, 1), taps = c->taps[1], row = job->out_pitch, slice = job->band[1] * row;
    const int sliding = t->filters == 1 && taps > step;
    const int64_t all_taps = direct_taps(c);
    NAMED(product_t) p = {
        .slices = t->slices,
        .slice_count = t->region.count[0],
        .factor_row = row,
        .factor_unit = t->vector,
        .factor_step = sliding ? -row : job->band[0] * slice,
        .source_row = step * rows->row_pitch,
        .offset = t->offsets,
        .inner = rows->vectors,
        .count = t->filters,
        .target_step = (sliding ? step * c->taps[2] : c->channels * all_taps) * t->vector,
        .sliding = sliding,
        .accumulate = 1,
    };
    for (int64_t d = 0; d < c->taps[0]; d++) {
        for (int64_t i = 0; i < t->region.count[0]; i++)
            t->slices[i] =
                (direct_slice_t){(i * direct_step(c, 0) + d) * rows->slice_pitch, i * slice, t->region.count[1]};
        for (int64_t class = 0; class < min64(step, taps); class ++) {
            const int64_t total = div_up(taps - class, step);
            const int64_t height = sliding ? div_up(total, div_up(total, DIRECT_ROWS)) : 1;
            for (int64_t k = 0; k < total; k += height) {
                if (sliding) p.count = min64(height, total - k);
                NAMED(add_tap_rows)(t, rows, &p, channel, d, class + k * step);
            }
        }
    }
}

/* Adds region `t->region` of image n. */
static void NAMED(add_region)(NAMED(gradient_turn_t) *t, int64_t n) {
    const direct_job_t *job = t->job;
    const correlation_t *c = &job->correlation;
    const direct_region_t *r = &t->region;
    const int64_t row = job->out_pitch, slice = job->band[1] * row, group = t->filter / c->filters;
    direct_window_t window = {.slots = 1, .pitch = {slice, row, row}};
    for (int axis = 0; axis < 3; axis++) {
        window.start[axis] = r->first[axis];
        window.step[axis] = r->spacing[axis];
        window.count[axis] = r->count[axis];
        window.size[axis] = c->pixels[axis];
    }
    t->window = direct_source_window(job, r);
    const REAL *gradient = (const REAL *)c->result + n * c->result_stride[0] + t->filter * c->result_stride[1];
    for (int64_t a = 0; a < t->filters; a++)
        NAMED(fill_panel)(t->gradient + a * job->band[0] * slice, gradient + a * c->result_stride[1],
                          c->result_stride + 2, &window, &t->results);
    const int64_t lanes = job->unit == 1 ? LANES : 1;
    const NAMED(rows_t) whole = {t->panel, t->window.pitch[0], t->window.pitch[1], 0, r->count[2] / lanes, 0};
    t->offsets[0] = 0; /* of the ends, too */
    for (int64_t i = 1; i < whole.vectors; i++) t->offsets[i] = i * t->vector;
    for (int64_t channel = 0; channel < c->channels; channel++) {
        const REAL *source =
            (const REAL *)c->source + n * c->source_stride[0] + (group * c->channels + channel) * c->source_stride[1];
        NAMED(fill_panel)(t->panel, source, c->source_stride + 2, &t->window, &t->sources);
        if (whole.vectors > 0) NAMED(add_rows)(t, &whole, channel);
        if (r->count[2] % lanes != 0) {
            const NAMED(rows_t) ends = NAMED(cut_ends)(t);
            NAMED(add_rows)(t, &ends, channel);
        }
    }
}

/* Adds up the lanes of the item's sums and stores them as part `part` of the result. */
static void NAMED(store_sums)(const NAMED(gradient_turn_t) *t, int64_t part) {
    const direct_job_t *job = t->job;
    const correlation_t *c = &job->correlation;
    const int64_t all_taps = direct_taps(c), along_width = job->unit == 1;
    const REAL *sum = t->sums;
    for (int64_t a = 0; a < t->filters; a++)
        for (int64_t channel = 0; channel < c->channels; channel++)
            for (int64_t tap = 0; tap < all_taps; tap++, sum += t->vector)
                for (int64_t l = 0; l < t->results.filled; l++) {
                    const int64_t k = t->filter + a + l, w = tap % c->taps[2], h = tap / c->taps[2] % c->taps[1];
                    REAL value = sum[l];
                    for (int64_t lane = 1; along_width && lane < LANES; lane++) value += sum[lane];
                    if (job->partial != NULL)
                        ((REAL *)
                             job->partial)[((part * c->groups * c->filters + k) * c->channels + channel) * all_taps +
                                           tap] = value;
                    else
                        ((REAL *)c->weight)[k * c->weight_stride[0] + channel * c->weight_stride[1] +
                                            tap / (c->taps[2] * c->taps[1]) * c->weight_stride[2] +
                                            h * c->weight_stride[3] + w * c->weight_stride[4]] = value;
                }
}

/* An item is a part of the pixels for up to DIRECT_ROWS filters of a group, or for one unit of channels. */
static void NAMED(direct_weight_gradient)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t which = item / job->partials, part = item % job->partials, regions = direct_regions(job);
    int64_t *lanes = (int64_t *)((char *)scratch + job->lanes_at);
    NAMED(gradient_turn_t) t = {
        .job = job,
        .filters = 1,
        .sources = {.unit = 1},
        .results = {.unit = 1, .filled = 1},
        .vector = job->unit == 1 ? LANES : job->unit,
        .panel = (REAL *)scratch,
        .gradient = (REAL *)((char *)scratch + job->factors_at),
        .ends = (REAL *)((char *)scratch + job->out_at),
        .sums = (REAL *)((char *)scratch + job->sums_at),
        .slices = (direct_slice_t *)((char *)scratch + job->slices_at),
        .offsets = (int64_t *)((char *)scratch + job->offsets_at),
    };
    if (job->unit == 1) {
        const int64_t most = direct_filters(c), blocks = div_up(c->filters, most), first = which % blocks * most;
        t.filter = which / blocks * c->filters + first;
        t.filters = min64(most, c->filters - first);
    } else {
        t.filter = which * job->unit;
        t.sources = NAMED(channels_from)(job, t.filter, lanes, 0);
        t.results = NAMED(channels_from)(job, t.filter, lanes + job->unit, 1);
    }
    memset(t.sums, 0, (size_t)(t.filters * c->channels * direct_taps(c) * t.vector) * sizeof(REAL));
    const int64_t positions = c->batch * regions;
    for (int64_t i = positions * part / job->partials; i < positions * (part + 1) / job->partials; i++)
        if (direct_region(job, i % regions, &t.region)) NAMED(add_region)(&t, i / regions);
    NAMED(store_sums)(&t, part);
}

/* An item is one filter: its parts, added in order. */
static void NAMED(direct_weight_reduce)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t all_taps = direct_taps(c), size = c->channels * all_taps, pitch = c->groups * c->filters * size;
    const REAL *partial = (const REAL *)job->partial + item * size;
    (void)scratch;
    for (int64_t i = 0; i < size; i++) {
        const int64_t tap = i % all_taps, w = tap % c->taps[2], h = tap / c->taps[2] % c->taps[1];
        REAL value = partial[i];
        for (int64_t part = 1; part < job->partials; part++) value += partial[part * pitch + i];
        ((REAL *)c->weight)[item * c->weight_stride[0] + i / all_taps * c->weight_stride[1] +
                            tap / (c->taps[2] * c->taps[1]) * c->weight_stride[2] + h * c->weight_stride[3] +
                            w * c->weight_stride[4]] = value;
    }
}
