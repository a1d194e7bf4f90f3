/* forward and backward_input by direct kernels; see direct_job.h for the formula, the items and the layout of scratch.
 *
 *     result[k, p] = sum over c, t of panel[c][p*step + t] * weight[k, c, t]
 *
 * One filter per group (or per lane) takes the sliding tile: a source row that is loaded once serves up to DIRECT_ROWS
 * output rows. Several filters share the source row instead. Numerics: one chain per element in the order of channels
 * and taps, whatever the blocking. */
#include "direct_tile.h"
#include "direct_panel.h"
#include "direct_weight.h"

/* Where the vectors of a block of rows are read and written: vector j of a row starts at pixel min(j*advance, limit),
 * so that the last one overlaps its neighbour in place of running over the end. */
typedef struct {
    int64_t rows;
    int64_t vectors;
    int64_t advance;
    int64_t limit;
    const REAL *source;
    int64_t source_row;
    int64_t source_unit;
    REAL *target;
    int64_t target_row;
    int64_t target_unit;
} NAMED(sweep_t);

/* Vectors of `blocks` blocks of `height` rows each, from row `first` on. */
static void NAMED(sweep_blocks)(const NAMED(product_t) *p, const NAMED(sweep_t) *s, int splat, int64_t first,
                                int64_t height, int64_t blocks) {
    int64_t row = first, j = 0, left = blocks * s->vectors;
    while (left > 0) {
        const REAL *source[DIRECT_WIDEST];
        REAL *target[DIRECT_WIDEST];
        const int64_t width = NAMED(tile_width)(left, p->count);
        for (int64_t b = 0; b < width; b++) {
            const int64_t at = min64(j * s->advance, s->limit);
            source[b] = s->source + row * s->source_row + at * s->source_unit;
            target[b] = s->target + row * s->target_row + at * s->target_unit;
            if (++j == s->vectors) {
                j = 0;
                row += height;
            }
        }
        NAMED(direct_tile)(splat, width)(p, source, target);
        left -= width;
    }
}

static void NAMED(sweep)(NAMED(product_t) *p, const NAMED(sweep_t) *s, int splat) {
    if (!p->sliding) {
        NAMED(sweep_blocks)(p, s, splat, 0, 1, s->rows);
        return;
    }
    const int64_t blocks = div_up(s->rows, DIRECT_ROWS), height = s->rows / blocks, taller = s->rows % blocks;
    p->target_step = s->target_row;
    p->count = height + 1;
    NAMED(sweep_blocks)(p, s, splat, 0, height + 1, taller);
    p->count = height;
    NAMED(sweep_blocks)(p, s, splat, taller * (height + 1), height, blocks - taller);
}

/* What the filters (or lanes) of one turn of an item have in common. */
typedef struct {
    const direct_job_t *job;
    direct_region_t region;
    direct_window_t window;
    int64_t image;
    int64_t filter;  /* the first, over all groups */
    int64_t filters; /* side by side in the factors; 1 with lanes along the channels */
    NAMED(channels_t) sources;
    NAMED(channels_t) results;
    int in_place; /* whole vectors can be stored straight into the result */
    REAL *panel;
    REAL *factors;
    REAL *out;
} NAMED(turn_t);

/* Weights as the tile reads them: [filter][channel][tap][lane]. */
static void NAMED(pack_factors)(const NAMED(turn_t) *t) {
    const correlation_t *c = &t->job->correlation;
    REAL *to = t->factors;
    for (int64_t a = 0; a < t->filters; a++)
        for (int64_t channel = 0; channel < c->channels; channel++)
            for (int64_t d = 0; d < c->taps[0]; d++)
                for (int64_t h = 0; h < c->taps[1]; h++)
                    for (int64_t w = 0; w < c->taps[2]; w++)
                        for (int64_t l = 0; l < t->job->unit; l++) {
                            const int64_t k = t->filter + a + l;
                            const REAL *weight = (const REAL *)c->weight + k / c->filters * c->weight_group_stride +
                                                 k % c->filters * c->weight_stride[0] + channel * c->weight_stride[1] +
                                                 d * c->weight_stride[2] + h * c->weight_stride[3] +
                                                 w * c->weight_stride[4];
                            *to++ = l < t->results.filled ? *weight : 0;
                        }
}

/* Epilogue of row h of slice d of filter a, and its way into the result where it was not summed in place. */
static void NAMED(finish_row)(const NAMED(turn_t) *t, int64_t a, int64_t d, int64_t h) {
    const correlation_t *c = &t->job->correlation;
    const epilogue_t *e = &t->job->epilogue;
    const direct_region_t *r = &t->region;
    const int64_t k = t->filter + a, unit = t->job->unit, count = r->count[2];
    const int64_t index[5] = {t->image, k, r->first[0] + d * r->spacing[0], r->first[1] + h * r->spacing[1],
                              r->first[2]};
    REAL *result = (REAL *)c->result;
    const REAL *add = (const REAL *)e->add, *bias = e->bias == NULL ? NULL : (const REAL *)e->bias + k;
    for (int axis = 0; axis < 5; axis++) {
        result += index[axis] * c->result_stride[axis];
        if (add != NULL) add += index[axis] * e->add_stride[axis];
    }
    const int64_t stride = c->result_stride[4];
    REAL *run = t->in_place ? result : t->out + (a * t->job->band[1] + h) * t->job->out_pitch;
    if (unit == 1) {
        if (!NAMED(epilogue_is_empty)(e)) NAMED(epilogue_run)(e, run, 1, count, bias, 0, add, e->add_stride[4]);
        if (!t->in_place)
            for (int64_t i = 0; i < count; i++) result[i * stride] = run[i];
        return;
    }
    const int64_t run_stride = t->in_place ? stride : unit;
    for (int64_t i = 0; i < count; i++, run += run_stride, result += stride) {
        if (!NAMED(epilogue_is_empty)(e))
            NAMED(epilogue_run)(e, run, 1, t->results.filled, bias, 1, add == NULL ? NULL : add + i * e->add_stride[4],
                                e->add_stride[1]);
        if (!t->in_place)
            for (int64_t l = 0; l < t->results.filled; l++) result[t->results.offset[l]] = run[l];
    }
}

/* The sums of slice d of a region for the turn's filters. */
static void NAMED(sum_slice)(const NAMED(turn_t) *t, NAMED(product_t) *p, int64_t d) {
    const direct_job_t *job = t->job;
    const correlation_t *c = &job->correlation;
    const direct_region_t *r = &t->region;
    const int64_t unit = job->unit, along_width = unit == 1, step = direct_step(c, 1);
    NAMED(sweep_t) sweep = {
        .rows = r->count[1],
        .vectors = along_width ? div_up(r->count[2], LANES) : r->count[2],
        .advance = along_width ? LANES : 1,
        .limit = along_width ? max64(r->count[2] - LANES, 0) : r->count[2] - 1,
        .source = t->panel + d * direct_step(c, 0) * t->window.pitch[0],
        .source_row = step * t->window.pitch[1],
        .source_unit = unit,
    };
    if (t->in_place) {
        sweep.target = (REAL *)c->result + t->image * c->result_stride[0] + t->filter * c->result_stride[1] +
                       (r->first[0] + d * r->spacing[0]) * c->result_stride[2] + r->first[1] * c->result_stride[3] +
                       r->first[2] * c->result_stride[4];
        sweep.target_row = r->spacing[1] * c->result_stride[3];
        sweep.target_unit = c->result_stride[4];
        p->target_step = c->result_stride[1];
    } else {
        sweep.target = t->out;
        sweep.target_row = job->out_pitch;
        sweep.target_unit = unit;
        p->target_step = job->band[1] * job->out_pitch;
    }
    for (int64_t lane = 0; lane < unit; lane += LANES) {
        p->factor = t->factors + lane;
        NAMED(sweep)(p, &sweep, along_width);
        sweep.source += LANES;
        sweep.target += LANES;
    }
    for (int64_t a = 0; a < t->filters; a++)
        for (int64_t h = 0; h < r->count[1]; h++) NAMED(finish_row)(t, a, d, h);
}

/* The product that sums all channels and taps; how its slices are cut depends on whether it slides. */
static NAMED(product_t) NAMED(product_of)(const NAMED(turn_t) *t, direct_slice_t *slices, const int64_t *offsets) {
    const correlation_t *c = &t->job->correlation;
    const int64_t row = c->taps[2] * t->job->unit, step = direct_step(c, 1), taps = c->taps[1];
    const int sliding = t->filters == 1 && taps > step && t->region.count[1] > 1;
    NAMED(product_t) p = {
        .slices = slices,
        .factor_row = sliding ? step * row : row,
        .factor_unit = t->job->unit,
        .factor_step = sliding ? -step * row : c->channels * c->taps[0] * taps * row,
        .source_row = sliding ? step * t->window.pitch[1] : t->window.pitch[1],
        .offset = offsets,
        .inner = c->taps[2],
        .count = t->filters,
        .sliding = sliding,
    };
    const int64_t classes = sliding ? min64(step, taps) : 1;
    for (int64_t i = 0; i < c->channels * c->taps[0]; i++)
        for (int64_t class = 0; class < classes; class ++)
            slices[p.slice_count++] = (direct_slice_t){
                .source = i / c->taps[0] * t->job->panel[0] * t->window.pitch[0] + i % c->taps[0] * t->window.pitch[0] +
                          class * t->window.pitch[1],
                .factor = (i * taps + class) * row,
                .rows = sliding ? div_up(taps - class, step) : taps,
            };
    return p;
}

/* All filters of one group, or one unit of lanes, from the panel of its source channels. */
static void NAMED(correlate_part)(NAMED(turn_t) *t, void *scratch, int64_t filters) {
    const direct_job_t *job = t->job;
    const correlation_t *c = &job->correlation;
    const int64_t most = job->unit > 1 || c->filters < 3 ? 1 : div_up(c->filters, div_up(c->filters, DIRECT_ROWS));
    const int64_t group = t->filter / c->filters, channel_pitch = job->panel[0] * t->window.pitch[0];
    const int64_t end = t->filter + filters;
    const REAL *source =
        (const REAL *)c->source + t->image * c->source_stride[0] + group * c->channels * c->source_stride[1];
    if (direct_taps(c) > 0)
        for (int64_t channel = 0; channel < c->channels; channel++)
            NAMED(fill_panel)(t->panel + channel * channel_pitch, source + channel * c->source_stride[1],
                              c->source_stride + 2, &t->window, &t->sources);
    for (; t->filter < end; t->filter += t->filters) {
        t->filters = min64(most, end - t->filter);
        NAMED(pack_factors)(t);
        NAMED(product_t) p = NAMED(product_of)(t, (direct_slice_t *)((char *)scratch + job->slices_at),
                                               (int64_t *)((char *)scratch + job->offsets_at));
        for (int64_t d = 0; d < t->region.count[0]; d++) NAMED(sum_slice)(t, &p, d);
    }
}

static void NAMED(direct_correlate)(const void *data, int64_t item, void *scratch) {
    const direct_job_t *job = (const direct_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t regions = direct_regions(job), parts = direct_parts(job);
    const int64_t part = item / regions % parts * job->block;
    int64_t *lanes = (int64_t *)((char *)scratch + job->lanes_at),
            *offsets = (int64_t *)((char *)scratch + job->offsets_at);
    NAMED(turn_t) t = {
        .job = job,
        .image = item / regions / parts,
        .sources = {.unit = 1},
        .results = {.unit = 1, .filled = 1},
        .panel = (REAL *)scratch,
        .factors = (REAL *)((char *)scratch + job->factors_at),
        .out = (REAL *)((char *)scratch + job->out_at),
    };
    if (!direct_region(job, item % regions, &t.region)) return;
    t.window = direct_source_window(job, &t.region);
    for (int64_t tap = 0; tap < c->taps[2]; tap++) offsets[tap] = direct_tap_offset(job, tap);
    if (job->unit == 1) {
        t.in_place = c->result_stride[4] == 1 && t.region.count[2] >= LANES;
        for (int64_t group = part; group < min64(part + job->block, c->groups); group++) {
            t.filter = group * c->filters;
            NAMED(correlate_part)(&t, scratch, c->filters);
        }
        return;
    }
    for (int64_t first = part * job->unit; first < min64((part + job->block) * job->unit, c->groups * c->filters);
         first += job->unit) {
        t.filter = first;
        t.sources = NAMED(channels_from)(job, first, lanes, 0);
        t.results = NAMED(channels_from)(job, first, lanes + job->unit, 1);
        t.in_place = c->result_stride[1] == 1 && t.results.filled == job->unit;
        NAMED(correlate_part)(&t, scratch, 1);
    }
}
