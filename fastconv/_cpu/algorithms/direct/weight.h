/* backward_weight by direct kernels; see job.h for the items and the layout of scratch.
 *
 *     weight[k, c, t] = sum over n, p of panel[n, c][p*step + t] * gradient[n, k, p]
 *
 * The tile's factors are vectors of the output gradient, its sources the source shifted by one tap each; sums stay in
 * lanes until the item is done. One filter per group (or per lane) slides: a source row that is loaded once meets up to
 * DIRECT_ROWS rows of the gradient.
 *
 * Lanes along the width run over the end of a row. There the gradient is 0 and the source whatever follows, which is
 * harmless unless it is infinite or NaN: a part whose sums are not all finite is summed again with the ends of the rows
 * cut off. Numerics: each region is summed from zero and added to the sums of those before it,
 * then lanes and parts are added in order, so that the bits depend on the problem alone. */

/* Source rows as the tile reads them: a whole panel, or the right-hand ends of its rows. */
typedef struct {
    const REAL *base;
    int64_t slice_pitch;
    int64_t row_pitch;
    int64_t tap_pitch; /* of the ends; 0: taps lie where direct_tap_offsets says */
    int64_t vectors;
    int64_t first; /* of the vectors in a row of the gradient */
} NAMED(rows_t);

typedef struct {
    const direct_job_t *job;
    const correlation_t *correlation;
    direct_region_t region;
    direct_window_t window;
    int64_t filter;
    int64_t filters;
    NAMED(channels_t) sources;
    NAMED(channels_t) results;
    REAL *panel;
    REAL *gradient; /* [filter][slice][row][out_pitch] */
    REAL *ends;     /* [width tap][slice][row][lane] */
    int cut;        /* the ends of rows are summed apart */
    REAL *sums;
    direct_slice_t *slices;
    int64_t *taps;
    int64_t *offsets;
} NAMED(gradient_turn_t);

/* The vectors that run over the end of their row, once per tap: what is not of the region is 0. */
static NAMED(rows_t) NAMED(cut_ends)(const NAMED(gradient_turn_t) *t) {
    const int64_t slices = t->window.count[0], rows = t->window.count[1];
    const int64_t first = t->region.count[2] / LANES, rest = t->region.count[2] % LANES;
    REAL *to = t->ends;
    for (int64_t tap = 0; tap < t->correlation->taps[2]; tap++)
        for (int64_t d = 0; d < slices; d++)
            for (int64_t h = 0; h < rows; h++, to += LANES) {
                const REAL *from =
                    t->panel + d * t->window.pitch[0] + h * t->window.pitch[1] + t->taps[tap] + first * LANES;
                for (int64_t l = 0; l < LANES; l++) to[l] = l < rest ? from[l] : 0;
            }
    return (NAMED(rows_t)){t->ends, rows * LANES, LANES, slices * rows * LANES, 1, first};
}

/* Adds to the sums of `channel` at taps first, first + 1, ... (`count` of them), for p->count filters from `filter` on
 * or, sliding, p->count rows of taps. */
static void NAMED(add_taps)(const NAMED(gradient_turn_t) *t, const NAMED(rows_t) *rows, NAMED(product_t) *p,
                            int64_t channel, int64_t filter, int64_t first, int64_t count) {
    const correlation_t *c = t->correlation;
    const int64_t all_taps = direct_taps(c);
    int64_t w = first % c->taps[2], h = first / c->taps[2] % c->taps[1], d = first / (c->taps[2] * c->taps[1]);
    REAL *sums = t->sums + ((filter * c->channels + channel) * all_taps + first) * LANES;
    for (int64_t left = count; left > 0;) {
        const REAL *source[DIRECT_WIDEST];
        REAL *target[DIRECT_WIDEST];
        const int64_t width = NAMED(tile_width)(left, p->count);
        for (int64_t b = 0; b < width; b++) {
            const int64_t shift = rows->tap_pitch ? w * rows->tap_pitch : t->taps[w];
            source[b] = rows->base + d * rows->slice_pitch + h * rows->row_pitch + shift;
            target[b] = sums + b * LANES;
            if (++w < c->taps[2]) continue;
            w = 0;
            if (++h < c->taps[1]) continue;
            h = 0;
            d++;
        }
        p->factor = t->gradient + filter * p->factor_step + rows->first * LANES;
        for (int64_t l = 0; l < t->job->unit; l += LANES) {
            NAMED(direct_tiles)[width == DIRECT_WIDEST ? 0 : width](p, source, target);
            p->factor += t->results.pitch;
            for (int64_t b = 0; b < width; b++) {
                source[b] += t->sources.pitch;
                target[b] += c->channels * all_taps * LANES;
            }
        }
        sums += width * LANES;
        left -= width;
    }
}

static void NAMED(add_rows)(const NAMED(gradient_turn_t) *t, const NAMED(rows_t) *rows, int64_t channel) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t step = job->advance[1], taps = c->taps[1], row = job->out_pitch, slice = job->band[1] * row;
    const int64_t all_taps = direct_taps(c), most = direct_filters(c);
    const int sliding = t->filters == 1 && taps > step;
    NAMED(product_t) p = {
        .slices = t->slices,
        .slice_count = t->region.count[0],
        .factor_row = row,
        .factor_unit = LANES,
        .factor_step = sliding ? -row : job->band[0] * slice,
        .source_row = step * rows->row_pitch,
        .offset = t->offsets,
        .inner = rows->vectors,
        .target_step = (sliding ? step * c->taps[2] : c->channels * all_taps) * LANES,
        .sliding = sliding,
        .accumulate = 1,
    };
    for (int64_t i = 0; i < t->region.count[0]; i++)
        t->slices[i] = (direct_slice_t){i * job->advance[0] * rows->slice_pitch, i * slice, t->region.count[1]};
    for (int64_t filter = 0; !sliding && filter < t->filters; filter += most) {
        p.count = min64(most, t->filters - filter);
        NAMED(add_taps)(t, rows, &p, channel, filter, 0, all_taps);
    }
    for (int64_t d = 0; sliding && d < c->taps[0]; d++)
        for (int64_t class = 0; class < min64(step, taps); class ++) {
            const int64_t total = div_up(taps - class, step), height = div_up(total, div_up(total, DIRECT_ROWS));
            for (int64_t k = 0; k < total; k += height) {
                p.count = min64(height, total - k);
                NAMED(add_taps)(t, rows, &p, channel, 0, (d * taps + class + k * step) * c->taps[2], c->taps[2]);
            }
        }
}

/* Adds region `t->region` of image n; `zeroed`: it is the one that was added last, of another image. */
static void NAMED(add_region)(NAMED(gradient_turn_t) *t, int64_t n, int zeroed) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const direct_region_t *r = &t->region;
    const int64_t row = job->out_pitch, slice = job->band[1] * row, group = t->filter / c->filters;
    direct_window_t window = {.slots = 1, .pitch = {slice, row, row}};
    for (int axis = 0; axis < 3; axis++) {
        window.start[axis] = r->first[axis];
        window.step[axis] = job->spacing[axis];
        window.count[axis] = r->count[axis];
        window.size[axis] = c->pixels[axis];
    }
    t->window = direct_source_window(job, c, r);
    const REAL *gradient = (const REAL *)c->result + n * c->result_stride[0] + t->filter * c->result_stride[1];
    for (int64_t a = 0; a < t->filters; a++)
        NAMED(fill_panel)(t->gradient + a * job->band[0] * slice, gradient + a * c->result_stride[1],
                          c->result_stride + 2, &window, &t->results, zeroed);
    const int64_t lanes = job->unit == 1 ? LANES : 1,
                  vectors = t->cut ? r->count[2] / lanes : div_up(r->count[2], lanes);
    const NAMED(rows_t) whole = {t->panel, t->window.pitch[0], t->window.pitch[1], 0, vectors, 0};
    t->offsets[0] = 0; /* of the ends, too */
    for (int64_t i = 1; i < whole.vectors; i++) t->offsets[i] = i * LANES;
    for (int64_t channel = 0; channel < c->channels; channel++) {
        const REAL *source =
            (const REAL *)c->source + n * c->source_stride[0] + (group * c->channels + channel) * c->source_stride[1];
        NAMED(fill_panel)(t->panel, source, c->source_stride + 2, &t->window, &t->sources, zeroed || channel > 0);
        if (whole.vectors > 0) NAMED(add_rows)(t, &whole, channel);
        if (t->cut && r->count[2] % lanes != 0) {
            const NAMED(rows_t) ends = NAMED(cut_ends)(t);
            NAMED(add_rows)(t, &ends, channel);
        }
    }
}

/* Adds up the lanes of the item's sums and stores them as part `part` of the result. */
static void NAMED(store_sums)(const NAMED(gradient_turn_t) *t, int64_t part) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t all_taps = direct_taps(c), size = c->channels * all_taps, along_width = job->unit == 1;
    const int64_t results = along_width ? t->filters : t->results.filled;
    for (int64_t i = 0; i < results; i++) {
        const REAL *sum = along_width ? t->sums + i * size * LANES : t->sums + i / LANES * size * LANES + i % LANES;
        const int64_t k = t->filter + i;
        for (int64_t j = 0; j < size; j++, sum += LANES) {
            REAL value = *sum;
            for (int64_t lane = 1; along_width && lane < LANES; lane++) value += sum[lane];
            if (job->partial != NULL)
                ((REAL *)job->partial)[(part * c->groups * c->filters + k) * size + j] = value;
            else
                *NAMED(weight_at)(c, k, j / all_taps, j % all_taps) = value;
        }
    }
}

/* The sums of part `part` of the pixels; whether all are finite. */
static int NAMED(sum_part)(NAMED(gradient_turn_t) *t, int64_t part) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t regions = direct_regions(job), positions = c->batch * regions;
    const int64_t size = c->channels * direct_taps(c) * (job->unit == 1 ? t->filters * LANES : job->unit);
    NAMED(vector) zero = {0};
    for (int64_t i = 0; i < size; i += LANES) NAMED(store)(t->sums + i, zero);
    const int64_t begin = positions * part / job->partials;
    for (int64_t i = begin; i < positions * (part + 1) / job->partials; i++)
        if (direct_region(job, c, i % regions, &t->region))
            NAMED(add_region)(t, i / regions, regions == 1 && i > begin);
    for (int64_t i = 0; i < size; i += LANES) zero += NAMED(load)(t->sums + i) * 0;
    int finite = 1;
    for (int64_t l = 0; l < LANES; l++) finite &= zero[l] == 0;
    return finite;
}

/* An item is a part of the pixels for some filters of a group, or for one unit of channels. */
static void NAMED(weight_gradient)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t which = item / job->partials, part = item % job->partials;
    char *memory = (char *)scratch;
    int64_t *lanes = (int64_t *)(memory + job->lanes_at);
    NAMED(gradient_turn_t) t = {
        .job = job,
        .correlation = c,
        .filters = 1,
        .sources = {.unit = 1},
        .results = {.unit = 1, .filled = 1},
        .panel = (REAL *)memory,
        .gradient = (REAL *)(memory + job->factors_at),
        .ends = (REAL *)(memory + job->out_at),
        .sums = (REAL *)(memory + job->sums_at),
        .slices = (direct_slice_t *)(memory + job->slices_at),
        .taps = (int64_t *)(memory + job->taps_at),
        .offsets = (int64_t *)(memory + job->offsets_at),
    };
    direct_tap_offsets(job, c, t.taps);
    if (job->unit == 1) {
        const int64_t blocks = div_up(c->filters, job->block), first = which % blocks * job->block;
        t.filter = which / blocks * c->filters + first;
        t.filters = min64(job->block, c->filters - first);
    } else {
        const int64_t panel = job->panel[0] * job->panel[1] * job->slots * job->panel[2] * LANES;
        t.filter = which * job->unit;
        t.sources = NAMED(channels_from)(job, c, t.filter, lanes, 0, panel);
        t.results =
            NAMED(channels_from)(job, c, t.filter, lanes + job->unit, 1, job->band[0] * job->band[1] * job->out_pitch);
    }
    if (!NAMED(sum_part)(&t, part) && job->unit == 1) {
        t.cut = 1;
        NAMED(sum_part)(&t, part);
    }
    NAMED(store_sums)(&t, part);
}

/* An item is one filter: its parts, added in order. */
static void NAMED(weight_reduce)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t all_taps = direct_taps(c), size = c->channels * all_taps, pitch = c->groups * c->filters * size;
    const REAL *partial = (const REAL *)job->partial + item * size;
    (void)scratch;
    for (int64_t i = 0; i < size; i++) {
        REAL value = partial[i];
        for (int64_t part = 1; part < job->partials; part++) value += partial[part * pitch + i];
        *NAMED(weight_at)(c, item, i / all_taps, i % all_taps) = value;
    }
}
