/* forward and backward_input with few result channels; see few_filters_job.h for the items and the layout of scratch.
 *
 *     result[k, p] = sum over c, t of  source[c, p + first + t*delta] * weight[k, c, t]
 *
 * Channels and taps are one list of offsets in the panel; a register tile takes all filters of a group, or some, by
 * some vectors of pixels. Layout: any strides. Preconditions: step 1. Numerics: every block of channels is summed in
 * one chain from zero, blocks are added in order; blocks follow from the problem alone. */
typedef struct {
    const few_filters_job_t *job;
    int64_t image;
    int64_t group;
    few_filters_box_t box; /* of the first phase, which has no fewer pixels than the others */
    REAL *panel;
    REAL *out;
    int64_t *offsets;
} NAMED(few_filters_turn_t);

static inline const REAL *NAMED(few_filters_source)(const NAMED(few_filters_turn_t) *t, int64_t channel) {
    const correlation_t *c = &t->job->phases[0].correlation;
    return (const REAL *)c->source + t->image * c->source_stride[0] +
           (t->group * c->channels + channel) * c->source_stride[1];
}

/* Entries [begin, end) of an axis of the panel lie inside the source. */
static inline void NAMED(few_filters_inside)(const NAMED(few_filters_turn_t) *t, int axis, int64_t *start,
                                             int64_t *begin, int64_t *end) {
    const correlation_t *c = &t->job->phases[0].correlation;
    *start = t->box.first[axis] + t->job->origin[axis];
    *begin = max64(-*start, 0);
    *end = min64(c->source_size[axis] - *start, t->box.count[axis] + t->job->reach[axis]);
}

/* A row of `count` pixels of `channels` neighbouring channels, at least LANES of both, into as many planes. */
static void NAMED(copy_planes)(REAL *to, int64_t plane, const REAL *from, int64_t pixel_stride, int64_t channels,
                               int64_t count) {
    for (int64_t q = 0; q < count; q += LANES) {
        const int64_t at = min64(q, count - LANES);
        for (int64_t l = 0; l < channels; l += LANES) {
            const int64_t first = min64(l, channels - LANES);
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) square[i] = NAMED(load)(from + (at + i) * pixel_stride + first);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) NAMED(store)(to + (first + i) * plane + at, square[i]);
        }
    }
}

/* Zeros into all entries of the panel that lie outside of the source. */
static void NAMED(few_filters_clear)(const NAMED(few_filters_turn_t) *t) {
    const few_filters_job_t *job = t->job;
    const int64_t pitch = job->panel[2];
    int64_t start[3], begin[3], end[3];
    for (int axis = 0; axis < 3; axis++) NAMED(few_filters_inside)(t, axis, start + axis, begin + axis, end + axis);
    for (int64_t i = 0; i < min64(job->channels, job->phases[0].correlation.channels); i++)
        for (int64_t d = 0; d < job->panel[0]; d++) {
            REAL *row = t->panel + i * job->plane + d * job->panel[1] * pitch;
            for (int64_t h = 0; h < job->panel[1]; h++, row += pitch) {
                const int inside = d >= begin[0] && d < end[0] && h >= begin[1] && h < end[1] && begin[2] < end[2];
                memset(row, 0, (inside ? begin[2] : pitch) * REAL_BYTES);
                if (inside) memset(row + end[2], 0, (pitch - end[2]) * REAL_BYTES);
            }
        }
}

/* Channels [first, first + count) of the source into the panel, whose other entries are zeros. */
static void NAMED(few_filters_fill)(const NAMED(few_filters_turn_t) *t, int64_t first, int64_t count) {
    const few_filters_job_t *job = t->job;
    const correlation_t *c = &job->phases[0].correlation;
    int64_t start[3], begin[3], end[3];
    for (int axis = 0; axis < 3; axis++) NAMED(few_filters_inside)(t, axis, start + axis, begin + axis, end + axis);
    if (begin[2] >= end[2]) return;
    const int64_t width = end[2] - begin[2], rows = end[1] - begin[1], pitch = job->panel[2];
    const int transposed = c->source_stride[1] == 1 && count >= LANES && width >= LANES;
    for (int64_t d = begin[0]; d < end[0]; d++) {
        REAL *to = t->panel + (d * job->panel[1] + begin[1]) * pitch + begin[2];
        const REAL *from = NAMED(few_filters_source)(t, first) + (start[0] + d) * c->source_stride[2] +
                           (start[1] + begin[1]) * c->source_stride[3] + (start[2] + begin[2]) * c->source_stride[4];
        for (int64_t h = 0; transposed && h < rows; h++)
            NAMED(copy_planes)(to + h * pitch, job->plane, from + h * c->source_stride[3], c->source_stride[4], count,
                               width);
        for (int64_t i = 0; !transposed && i < count; i++, to += job->plane, from += c->source_stride[1])
            NAMED(copy_rows)(to, pitch, from, c->source_stride[3], c->source_stride[4], width, rows);
    }
}

/* What the next block of channels will copy, to be asked for in the course of `tiles` tiles. */
static prefetch_t NAMED(few_filters_ahead)(const NAMED(few_filters_turn_t) *t, int64_t first, int64_t count,
                                           int64_t tiles) {
    const correlation_t *c = &t->job->phases[0].correlation;
    int64_t start[3], begin[3], end[3];
    prefetch_t ahead = {0};
    for (int axis = 0; axis < 3; axis++) NAMED(few_filters_inside)(t, axis, start + axis, begin + axis, end + axis);
    if (count <= 0 || end[0] - begin[0] != 1 || begin[1] >= end[1] || begin[2] >= end[2]) return ahead;
    const int64_t rows = end[1] - begin[1], width = end[2] - begin[2];
    const int64_t interleaved = c->source_stride[1] == 1;
    if (c->source_stride[3] != width * c->source_stride[4] || (c->source_stride[4] != 1 && !interleaved)) return ahead;
    ahead.run = (const char *)(NAMED(few_filters_source)(t, first) + (start[0] + begin[0]) * c->source_stride[2] +
                               (start[1] + begin[1]) * c->source_stride[3]);
    ahead.runs = interleaved ? rows * width : count;
    ahead.step = (interleaved ? c->source_stride[4] : c->source_stride[1]) * REAL_BYTES;
    ahead.lines = div_up((interleaved ? count : rows * width) * REAL_BYTES, LINE_BYTES);
    ahead.share = div_up(ahead.runs * ahead.lines, max64(tiles, 1));
    return ahead;
}

static int64_t NAMED(few_filters_vectors)(const few_filters_job_t *job, const few_filters_box_t *box) {
    return job->runs_on ? div_up((box->count[1] - 1) * job->panel[2] + box->count[2], LANES)
                        : div_up(box->count[2], LANES);
}

/* The sums of one phase over the panel's channels, from `first` on, into (or, after the first block, on top of) `out`.
 */
static void NAMED(few_filters_sum)(const NAMED(few_filters_turn_t) *t, const few_filters_phase_t *phase, REAL *out,
                                   int64_t first, int64_t count, prefetch_t *ahead) {
    const few_filters_job_t *job = t->job;
    const correlation_t *c = &phase->correlation;
    const int64_t taps = few_filters_taps(c), slice = job->panel[1] * job->panel[2];
    few_filters_box_t box = t->box;
    for (int axis = 0; axis < 3; axis++) box.count[axis] = min64(box.count[axis], c->pixels[axis] - box.first[axis]);
    if (box.count[0] <= 0 || box.count[1] <= 0 || box.count[2] <= 0) return;
    int64_t listed = 0;
    for (int64_t d = 0; d < c->taps[0] && count > 0; d++)
        for (int64_t h = 0; h < c->taps[1]; h++)
            for (int64_t w = 0; w < c->taps[2]; w++)
                t->offsets[listed++] = d * c->delta[0] * slice + h * c->delta[1] * job->panel[2] + w * c->delta[2];
    for (const int64_t plane = job->plane, end = count * taps; listed > 0 && listed < end; listed++)
        t->offsets[listed] = t->offsets[listed - taps] + plane;
    const direct_slice_t all = {.rows = listed > 0};
    const REAL *source = t->panel;
    if (taps > 0)
        source += (c->first[0] - job->origin[0]) * slice + (c->first[1] - job->origin[1]) * job->panel[2] +
                  c->first[2] - job->origin[2];
    const int64_t most = direct_filters(c), filter_size = job->band[0] * job->out_slice;
    const REAL *factors = (const REAL *)phase->factors + (t->group * c->filters * c->channels + first) * taps;
    for (int64_t filter = 0; filter < c->filters; filter += most) {
        NAMED(product_t)
        p = {
            .slices = &all,
            .slice_count = 1,
            .factor = factors + filter * c->channels * taps,
            .factor_step = c->channels * taps,
            .offset = t->offsets,
            .inner = listed,
            .count = min64(most, c->filters - filter),
            .target_step = filter_size,
            .accumulate = first > 0,
        };
        for (int64_t d = 0; d < box.count[0]; d++) {
            NAMED(sweep_t)
            sweep = {
                .vectors = NAMED(few_filters_vectors)(job, &box),
                .advance = LANES,
                .limit = INT64_MAX,
                .source = source + d * slice,
                .source_row = job->panel[2],
                .source_unit = 1,
                .target = out + filter * filter_size + d * job->out_slice,
                .target_row = job->out_pitch,
                .target_unit = 1,
                .ahead = ahead,
            };
            NAMED(sweep_blocks)(&p, &sweep, 1, 1, job->runs_on ? 1 : box.count[1]);
        }
    }
}

/* The first `count` elements of each of two or four runs, `step` apart, one of every run in turn. */
ALWAYS_INLINE void NAMED(weave)(const int runs, REAL *to, const REAL *run, int64_t step, int64_t count) {
    NAMED(lane_index) low, high;
    for (int i = 0; i < LANES; i++) {
        low[i] = i % 2 * LANES + i / 2;
        high[i] = low[i] + LANES / 2;
    }
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES, run += LANES, to += runs * LANES) {
        NAMED(vector) even = NAMED(load)(run), odd = NAMED(load)(run + step);
        if (runs == 2) {
            NAMED(store)(to, NAMED(shuffle)(even, odd, low));
            NAMED(store)(to + LANES, NAMED(shuffle)(even, odd, high));
            continue;
        }
        const NAMED(vector) even2 = NAMED(load)(run + 2 * step), odd2 = NAMED(load)(run + 3 * step);
        const NAMED(vector) even_high = NAMED(shuffle)(even, even2, high);
        const NAMED(vector) odd_high = NAMED(shuffle)(odd, odd2, high);
        even = NAMED(shuffle)(even, even2, low);
        odd = NAMED(shuffle)(odd, odd2, low);
        NAMED(store)(to, NAMED(shuffle)(even, odd, low));
        NAMED(store)(to + LANES, NAMED(shuffle)(even, odd, high));
        NAMED(store)(to + 2 * LANES, NAMED(shuffle)(even_high, odd_high, low));
        NAMED(store)(to + 3 * LANES, NAMED(shuffle)(even_high, odd_high, high));
    }
    for (; i < count; i++, run++, to += runs)
        for (int k = 0; k < runs; k++) to[k] = run[k * step];
}

/* The epilogue of a row of finished sums, pixels (d, h) of the box's first on the w axis and after. */
static void NAMED(few_filters_finish)(const NAMED(few_filters_turn_t) *t, const epilogue_t *e, REAL *run, int64_t width,
                                      int64_t filter, int64_t d, int64_t h) {
    const REAL *bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter, *add = (const REAL *)e->add;
    if (add != NULL)
        add += t->image * e->add_stride[0] + filter * e->add_stride[1] + d * e->add_stride[2] + h * e->add_stride[3] +
               t->box.first[2] * e->add_stride[4];
    const NAMED(finish_t) row = {.rows = 1,
                                 .count = width,
                                 .result = run,
                                 .stride = 1,
                                 .bias = bias,
                                 .add = add,
                                 .add_stride = e->add_stride[4]};
    NAMED(finish_rows)(e, &row);
}

/* The finished sums of phases that lie between each other, phase i at out + i * phase_size, into the result. */
static void NAMED(few_filters_store)(const NAMED(few_filters_turn_t) *t, const few_filters_phase_t *phases, REAL *out,
                                     int64_t phase_size) {
    const few_filters_job_t *job = t->job;
    const correlation_t *c = &phases[0].correlation;
    const int64_t *first = t->box.first, count = job->row_phases;
    const int64_t least = phases[count - 1].correlation.pixels[2] - first[2];
    const int woven = (count == 2 || count == 4) && c->result_stride[4] == count;
    const int64_t together = woven ? max64(min64(t->box.count[2], least), 0) : 0;
    const int is_plain = NAMED(epilogue_is_empty)(&phases[0].epilogue);
    for (int64_t k = 0; k < c->filters; k++)
        for (int64_t d = 0; d < min64(t->box.count[0], c->pixels[0] - first[0]); d++)
            for (int64_t h = 0; h < min64(t->box.count[1], c->pixels[1] - first[1]); h++) {
                REAL *run = out + (k * job->band[0] + d) * job->out_slice + h * job->out_pitch;
                const int64_t filter = t->group * c->filters + k;
                const int64_t at = t->image * c->result_stride[0] + filter * c->result_stride[1] +
                                   (first[0] + d) * c->result_stride[2] + (first[1] + h) * c->result_stride[3] +
                                   first[2] * c->result_stride[4];
                for (int64_t i = 0; i < count; i++, run += phase_size) {
                    const int64_t width = min64(t->box.count[2], phases[i].correlation.pixels[2] - first[2]);
                    if (width > 0 && !is_plain)
                        NAMED(few_filters_finish)(t, &phases[i].epilogue, run, width, filter, first[0] + d,
                                                  first[1] + h);
                    if (width > together)
                        NAMED(spread_rows)((REAL *)phases[i].correlation.result + at + together * c->result_stride[4],
                                           0, c->result_stride[4], 0, run + together, 0, width - together, 1);
                }
                run -= count * phase_size;
                if (woven && count == 2) NAMED(weave)(2, (REAL *)c->result + at, run, phase_size, together);
                if (woven && count == 4) NAMED(weave)(4, (REAL *)c->result + at, run, phase_size, together);
            }
}

static void NAMED(few_filters_correlate)(const void *data, int64_t item, void *scratch) {
    const few_filters_job_t *job = (const few_filters_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t boxes = job->bands[0] * job->bands[1] * job->bands[2];
    char *memory = (char *)scratch;
    NAMED(few_filters_turn_t)
    t = {
        .job = job,
        .image = item / boxes / c->groups,
        .group = item / boxes % c->groups,
        .panel = (REAL *)(memory + job->panel_at) + job->lead,
        .out = (REAL *)(memory + job->out_at),
        .offsets = (int64_t *)(memory + job->offsets_at),
    };
    if (!few_filters_box(job, c, item % boxes, &t.box)) return;
    NAMED(few_filters_clear)(&t);
    const int64_t phase_size = c->filters * job->band[0] * job->out_slice;
    const int whole = job->channels >= c->channels;
    const int64_t vectors = NAMED(few_filters_vectors)(job, &t.box) * (job->runs_on ? 1 : t.box.count[1]);
    const int64_t tiles = job->phase_count * t.box.count[0] * div_up(c->filters, DIRECT_ROWS) * vectors / DIRECT_WIDE;
    int64_t channel = 0;
    do {
        const int64_t next = channel + job->channels, count = min64(job->channels, c->channels - channel);
        NAMED(few_filters_fill)(&t, channel, count);
        prefetch_t ahead = NAMED(few_filters_ahead)(&t, next, min64(job->channels, c->channels - next), tiles);
        for (int64_t set = 0; set < job->phase_count; set += job->row_phases) {
            REAL *out = t.out + (whole ? 0 : set * phase_size);
            for (int64_t i = 0; i < job->row_phases; i++)
                NAMED(few_filters_sum)(&t, &job->phases[set + i], out + i * phase_size, channel, count, &ahead);
            if (next >= c->channels) NAMED(few_filters_store)(&t, &job->phases[set], out, phase_size);
        }
        channel = next;
    } while (channel < c->channels);
}

/* Item: one filter of one phase. */
static void NAMED(few_filters_pack)(const void *data, int64_t item, void *scratch) {
    const few_filters_job_t *job = (const few_filters_job_t *)data;
    const few_filters_phase_t *phase = &job->phases[item % job->phase_count];
    const correlation_t *c = &phase->correlation;
    const int64_t filter = item / job->phase_count, group = filter / max64(c->filters, 1);
    const REAL *weight =
        (const REAL *)c->weight + group * c->weight_group_stride + (filter - group * c->filters) * c->weight_stride[0];
    REAL *to = (REAL *)phase->factors + filter * c->channels * few_filters_taps(c);
    (void)scratch;
    for (int64_t channel = 0; channel < c->channels; channel++, weight += c->weight_stride[1])
        for (int64_t d = 0; d < c->taps[0]; d++)
            for (int64_t h = 0; h < c->taps[1]; h++) {
                const REAL *from = weight + d * c->weight_stride[2] + h * c->weight_stride[3];
                for (int64_t w = 0; w < c->taps[2]; w++) *to++ = from[w * c->weight_stride[4]];
            }
}
