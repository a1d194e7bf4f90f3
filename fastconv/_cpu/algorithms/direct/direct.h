/* forward and backward_input by direct kernels; see job.h for the formula, the items and the layout of scratch.
 *
 *     result[k, p] = sum over c, t of panel[c][p*step + t] * weight[k, c, t]
 *
 * One filter per group (or per lane) takes the sliding tile: a source row that is loaded once serves up to DIRECT_ROWS
 * output rows. Several filters share the source row instead. Numerics: one chain per element in the order of channels
 * and taps, whatever the blocking. */
#include "tile.h"
#include "panel.h"
#include "weight.h"

/* All vectors of `rows` rows. */
static void NAMED(sweep_rows)(NAMED(product_t) *p, NAMED(sweep_t) *s, int splat, int64_t rows) {
    s->row = s->next = 0;
    if (!p->sliding) {
        NAMED(sweep_blocks)(p, s, splat, 1, rows);
        return;
    }
    const int64_t blocks = div_up(rows, DIRECT_ROWS), height = rows / blocks, taller = rows % blocks;
    p->target_step = s->target_row;
    p->count = height + 1;
    NAMED(sweep_blocks)(p, s, splat, height + 1, taller);
    p->count = height;
    NAMED(sweep_blocks)(p, s, splat, height, blocks - taller);
}

/* What the filters (or lanes) that an item takes at a time have in common. */
typedef struct {
    const direct_job_t *job;
    const correlation_t *correlation;
    const epilogue_t *epilogue;
    direct_region_t region;
    direct_window_t window;
    int64_t image;
    int64_t filter;  /* the first, over all groups */
    int64_t filters; /* side by side in the factors; 1 with lanes along the channels */
    NAMED(channels_t) sources;
    NAMED(channels_t) results;
    int in_place;    /* whole vectors can be stored straight into the result */
    int interleaved; /* the elements between those of a row are of the same item */
    REAL *panel;
    REAL *factors;
    REAL *out;
    direct_slice_t *slices;
    const int64_t *taps;
    int64_t *listed;
    NAMED(product_t) product;
    int64_t prepared; /* filters that it was made for */
} NAMED(turn_t);

/* Weights as the tile reads them: [filter or vector][channel][tap][entry]. */
static void NAMED(pack_factors)(const NAMED(turn_t) *t) {
    const correlation_t *c = t->correlation;
    const int64_t entry = t->job->entry, row = c->taps[2] * entry, rows = c->channels * c->taps[0] * c->taps[1];
    const int64_t results = t->job->unit == 1 ? t->filters : t->job->unit;
    for (int64_t i = 0; i < results; i++) {
        const int64_t k = t->filter + i, group = c->filters == 1 ? k : k / c->filters;
        const int exists = t->job->unit == 1 || i < t->results.filled;
        const REAL *filter =
            (const REAL *)c->weight + group * c->weight_group_stride + (k - group * c->filters) * c->weight_stride[0];
        REAL *to = t->factors + i / entry * rows * row + i % entry;
        for (int64_t channel = 0; channel < c->channels; channel++)
            for (int64_t d = 0; d < c->taps[0]; d++)
                for (int64_t h = 0; h < c->taps[1]; h++, to += row) {
                    const REAL *weight =
                        filter + channel * c->weight_stride[1] + d * c->weight_stride[2] + h * c->weight_stride[3];
                    for (int64_t w = 0; w < c->taps[2]; w++)
                        to[w * entry] = exists ? weight[w * c->weight_stride[4]] : 0;
                }
    }
}

/* The epilogue of row h of slice d of filter a, where its sums are. */
static void NAMED(finish_row)(const NAMED(turn_t) *t, REAL *run, int64_t a, int64_t d, int64_t h) {
    const epilogue_t *e = t->epilogue;
    const direct_job_t *job = t->job;
    const direct_region_t *r = &t->region;
    const REAL *bias = e->bias == NULL ? NULL : (const REAL *)e->bias + t->filter + a, *add = (const REAL *)e->add;
    if (add != NULL)
        add += t->image * e->add_stride[0] + (t->filter + a) * e->add_stride[1] +
               (r->first[0] + d * job->spacing[0]) * e->add_stride[2] +
               (r->first[1] + h * job->spacing[1]) * e->add_stride[3] + r->first[2] * e->add_stride[4];
    if (job->unit == 1) {
        const NAMED(finish_t) row = {.rows = 1,
                                     .count = r->count[2],
                                     .result = run,
                                     .stride = 1,
                                     .bias = bias,
                                     .add = add,
                                     .add_stride = e->add_stride[4]};
        NAMED(finish_rows)(e, &row);
        return;
    }
    const int64_t stride = t->in_place ? t->correlation->result_stride[4] : LANES;
    const int64_t pitch = t->in_place ? LANES : t->results.pitch;
    for (int64_t l = 0; l < t->results.filled; l += LANES, run += pitch) {
        const NAMED(finish_t) pixels = {.rows = r->count[2],
                                        .count = min64(t->results.filled - l, LANES),
                                        .result = run,
                                        .row_stride = stride,
                                        .stride = 1,
                                        .bias = bias == NULL ? NULL : bias + l,
                                        .bias_stride = 1,
                                        .add = add == NULL ? NULL : add + l * e->add_stride[1],
                                        .add_row_stride = e->add_stride[4],
                                        .add_stride = e->add_stride[1]};
        NAMED(finish_rows)(e, &pixels);
    }
}

/* Whether the channels of `add` are no neighbours, as the lanes are: then it is added to the result. */
static inline int NAMED(added_late)(const NAMED(turn_t) *t) {
    return t->epilogue->add != NULL && t->job->unit != 1 && !t->in_place && t->epilogue->add_stride[1] != 1;
}

/* The epilogue of slice d of all lanes' channels, in the result. */
static void NAMED(finish_channels)(const NAMED(turn_t) *t, REAL *result, int64_t d) {
    const epilogue_t *e = t->epilogue;
    const correlation_t *c = t->correlation;
    const direct_region_t *r = &t->region;
    const int64_t spacing = t->job->spacing[1];
    const REAL *add = (const REAL *)e->add + t->image * e->add_stride[0] + t->filter * e->add_stride[1] +
                      (r->first[0] + d * t->job->spacing[0]) * e->add_stride[2] + r->first[1] * e->add_stride[3] +
                      r->first[2] * e->add_stride[4];
    for (int64_t l = 0; l < t->results.filled; l++) {
        const NAMED(finish_t) rows = {.rows = r->count[1],
                                      .count = r->count[2],
                                      .result = result + t->results.offset[l],
                                      .row_stride = spacing * c->result_stride[3],
                                      .stride = c->result_stride[4],
                                      .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + t->filter + l,
                                      .add = add + l * e->add_stride[1],
                                      .add_row_stride = spacing * e->add_stride[3],
                                      .add_stride = e->add_stride[4]};
        NAMED(finish_rows)(e, &rows);
    }
}

/* A finished row into the result. */
static void NAMED(store_row)(const NAMED(turn_t) *t, REAL *result, const REAL *run) {
    const int64_t stride = t->correlation->result_stride[4], count = t->region.count[2];
    if (t->job->unit == 1) {
        if (t->interleaved)
            NAMED(store_every_second)(result, run, count);
        else
            for (int64_t i = 0; i < count; i++) result[i * stride] = run[i];
        return;
    }
    for (int64_t i = 0; i < count; i++, result += stride)
        for (int64_t l = 0; l < t->results.filled; l++)
            result[t->results.offset[l]] = run[i * LANES + l / LANES * t->results.pitch + l % LANES];
}

/* Finished units into planes whose pixels are neighbours, as squares of the whole slice or of each row; 0: too short.
 */
static int NAMED(store_transposed)(const NAMED(turn_t) *t, REAL *result) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t rows = t->region.count[1], width = t->region.count[2];
    if (job->unit == 1 || t->in_place || c->result_stride[4] != 1) return 0;
    if (width * rows >= LANES && width == job->band[2] && c->result_stride[3] == width && job->spacing[1] == 1) {
        NAMED(transpose_out)(result, t->out, rows * width, &t->results);
        return 1;
    }
    if (width < LANES) return 0;
    for (int64_t h = 0; h < rows; h++) NAMED(transpose_out)
    (result + h * job->spacing[1] * c->result_stride[3], t->out + h * job->out_pitch, width, &t->results);
    return 1;
}

/* The sums of slice d of a region for those filters. */
static void NAMED(sum_slice)(NAMED(turn_t) *t, int64_t d) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const direct_region_t *r = &t->region;
    NAMED(product_t) *p = &t->product;
    const int64_t along_width = job->unit == 1, vectors = along_width ? 1 : job->unit / LANES;
    REAL *result = (REAL *)c->result + t->image * c->result_stride[0] + t->filter * c->result_stride[1] +
                   (r->first[0] + d * job->spacing[0]) * c->result_stride[2] + r->first[1] * c->result_stride[3] +
                   r->first[2] * c->result_stride[4];
    REAL *const sums = t->in_place ? result : t->out;
    const int64_t filter_step = t->in_place ? c->result_stride[1] : job->band[1] * job->out_pitch;
    NAMED(sweep_t)
    sweep = {
        .vectors = along_width ? div_up(r->count[2], LANES) : r->count[2],
        .advance = along_width ? LANES : 1,
        .limit = along_width ? max64(r->count[2] - LANES, 0) : r->count[2] - 1,
        .source = t->panel + d * job->advance[0] * t->window.pitch[0],
        .source_row = job->advance[1] * t->window.pitch[1],
        .source_unit = job->entry,
        .target = sums,
        .target_row = t->in_place ? job->spacing[1] * c->result_stride[3] : job->out_pitch,
        .target_unit = t->in_place ? c->result_stride[4] : job->entry,
    };
    p->target_step = filter_step; /* a sliding tile has its own */
    p->factor = t->factors;
    for (int64_t v = 0; v < vectors; v++) {
        NAMED(sweep_rows)(p, &sweep, along_width, r->count[1]);
        p->factor += c->channels * direct_taps(c) * LANES;
        sweep.source += t->sources.pitch;
        sweep.target += t->in_place ? LANES : t->results.pitch;
    }
    const int is_plain = NAMED(epilogue_is_empty)(t->epilogue), is_late = NAMED(added_late)(t);
    for (int64_t a = 0; !is_plain && !is_late && a < t->filters; a++)
        for (int64_t h = 0; h < r->count[1]; h++)
            NAMED(finish_row)(t, sums + a * filter_step + h * sweep.target_row, a, d, h);
    if (!t->in_place && !NAMED(store_transposed)(t, result))
        for (int64_t a = 0; a < t->filters; a++)
            for (int64_t h = 0; h < r->count[1]; h++)
                NAMED(store_row)(t, result + a * c->result_stride[1] + h * job->spacing[1] * c->result_stride[3],
                                 t->out + (a * job->band[1] + h) * job->out_pitch);
    if (is_late) NAMED(finish_channels)(t, result, d);
}

/* All taps of all channels as one row of the product. */
static void NAMED(list_taps)(const NAMED(turn_t) *t, NAMED(product_t) *p) {
    const correlation_t *c = t->correlation;
    const int64_t slices = t->job->unit / t->job->entry * t->job->panel[0];
    int64_t count = 0;
    for (int64_t channel = 0; channel < c->channels; channel++)
        for (int64_t d = 0; d < c->taps[0]; d++)
            for (int64_t h = 0; h < c->taps[1]; h++)
                for (int64_t w = 0; w < c->taps[2]; w++)
                    t->listed[count++] =
                        (channel * slices + d) * t->window.pitch[0] + h * t->window.pitch[1] + t->taps[w];
    t->slices[0] = (direct_slice_t){.rows = count > 0};
    p->slice_count = 1;
    p->offset = t->listed;
    p->inner = count;
}

/* The product that sums all channels and taps; how its slices are cut depends on whether it slides. */
static NAMED(product_t) NAMED(product_of)(const NAMED(turn_t) *t) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t row = c->taps[2] * job->entry, step = job->advance[1], taps = c->taps[1];
    const int64_t panels = job->unit / job->entry;
    const int sliding = t->filters == 1 && taps > step && t->region.count[1] > 1;
    NAMED(product_t)
    p = {
        .slices = t->slices,
        .factor_row = sliding ? step * row : row,
        .factor_unit = job->entry,
        .factor_step = sliding ? -step * row : c->channels * c->taps[0] * taps * row,
        .source_row = sliding ? step * t->window.pitch[1] : t->window.pitch[1],
        .offset = t->taps,
        .inner = c->taps[2],
        .count = t->filters,
        .sliding = sliding,
        .slices_of_3 = sliding && step == 1 && taps == 3 && c->taps[2] == 3,
    };
    if (!sliding && job->is_listed) {
        NAMED(list_taps)(t, &p);
        return p;
    }
    const int64_t classes = sliding ? min64(step, taps) : 1;
    for (int64_t channel = 0; channel < c->channels; channel++)
        for (int64_t d = 0; d < c->taps[0]; d++)
            for (int64_t class = 0; class < classes; class ++)
                t->slices[p.slice_count++] = (direct_slice_t){
                    .source = (channel * panels * job->panel[0] + d) * t->window.pitch[0] + class * t->window.pitch[1],
                    .factor = ((channel * c->taps[0] + d) * taps + class) * row,
                    .rows = sliding ? div_up(taps - class, step) : taps,
                };
    return p;
}

/* `filters` results of one group (or one unit of lanes), all from the panel of its source channels. */
static void NAMED(correlate_part)(NAMED(turn_t) *t, int64_t filters, int zeroed) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    const int64_t most = job->unit > 1 || c->filters < 3 ? 1 : direct_filters(c), end = t->filter + filters;
    const int64_t group = c->filters == 1 ? t->filter : t->filter / c->filters, panels = job->unit / job->entry;
    const REAL *source =
        (const REAL *)c->source + t->image * c->source_stride[0] + group * c->channels * c->source_stride[1];
    if (direct_taps(c) > 0)
        for (int64_t channel = 0; channel < c->channels; channel++) NAMED(fill_panel)
    (t->panel + channel * panels * job->panel[0] * t->window.pitch[0], source + channel * c->source_stride[1],
     c->source_stride + 2, &t->window, &t->sources, zeroed);
    for (; t->filter < end; t->filter += t->filters) {
        t->filters = min64(most, end - t->filter);
        if (t->prepared != t->filters) t->product = NAMED(product_of)(t);
        t->prepared = t->filters;
        NAMED(pack_factors)(t);
        for (int64_t d = 0; d < t->region.count[0]; d++) NAMED(sum_slice)(t, d);
    }
}

/* Whether this item computes the elements between those of a row, too, in another phase. */
static int NAMED(is_interleaved)(const direct_job_t *job, const correlation_t *c) {
    int found = 0;
    for (int64_t phase = 0; phase < job->phase_count; phase++) {
        const char *other = job->phases[phase].correlation.result;
        found |= other == c->result + REAL_BYTES || other == c->result - REAL_BYTES;
    }
    return found && c->result_stride[4] == 2;
}

/* One region of one phase, for the groups or units of an item. */
static void NAMED(correlate_region)(NAMED(turn_t) *t, int64_t part, int64_t *taps, int64_t *lanes) {
    const direct_job_t *job = t->job;
    const correlation_t *c = t->correlation;
    t->window = direct_source_window(job, c, &t->region);
    t->prepared = 0;
    direct_tap_offsets(job, c, taps);
    if (job->unit == 1) {
        t->interleaved = NAMED(is_interleaved)(job, c);
        t->in_place = c->result_stride[4] == 1 && t->region.count[2] >= LANES;
        for (int64_t group = part; group < min64(part + job->block, c->groups); group++) {
            t->filter = group * c->filters;
            NAMED(correlate_part)(t, c->filters, group > part);
        }
        return;
    }
    const int64_t end = min64((part + job->block) * job->unit, c->groups * c->filters);
    for (int64_t first = part * job->unit; first < end; first += job->unit) {
        t->filter = first;
        t->sources = NAMED(channels_from)(job, c, first, lanes, 0, job->panel[0] * t->window.pitch[0]);
        t->results = NAMED(channels_from)(job, c, first, lanes + job->unit, 1, job->band[1] * job->out_pitch);
        t->in_place = c->result_stride[1] == 1 && t->results.filled == job->unit;
        NAMED(correlate_part)(t, 1, first > part * job->unit);
    }
}

/* An item is one region of one image for some groups or units, in all phases, which share what they read and write. */
static void NAMED(correlate)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const int64_t regions = direct_regions(job), parts = direct_parts(job);
    char *memory = (char *)scratch;
    int64_t *taps = (int64_t *)(memory + job->taps_at), *lanes = (int64_t *)(memory + job->lanes_at);
    NAMED(turn_t)
    t = {
        .job = job,
        .image = item / regions / parts,
        .sources = {.unit = 1},
        .results = {.unit = 1, .filled = 1},
        .panel = (REAL *)memory,
        .factors = (REAL *)(memory + job->factors_at),
        .out = (REAL *)(memory + job->out_at),
        .slices = (direct_slice_t *)(memory + job->slices_at),
        .taps = taps,
        .listed = (int64_t *)(memory + job->offsets_at),
    };
    for (int64_t phase = 0; phase < job->phase_count; phase++) {
        t.correlation = &job->phases[phase].correlation;
        t.epilogue = &job->phases[phase].epilogue;
        if (direct_region(job, t.correlation, item % regions, &t.region))
            NAMED(correlate_region)(&t, item / regions % parts * job->block, taps, lanes);
    }
}
