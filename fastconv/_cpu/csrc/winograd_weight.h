/* Transformed weights: G weight G^T for one panel of filters and one vector of the reduction.
 *
 * Taps are gathered from the weight's own strides to taps[channel][h][w][filter] and transformed with filters as lanes.
 * Whichever axis of the weight is contiguous, squares of LANES filters are transposed in registers. */

/* The weights of one panel: `channels` <= LANES and `filters` <= TILE_COLUMNS of them. */
typedef struct {
    const REAL *first; /* tap (0, 0) of the first channel and filter */
    const int64_t *stride;
    int64_t channels;
    int64_t filters;
    int64_t area;
    int64_t at[WINOGRAD_MOST_TAPS]; /* offset of each tap */
    int64_t low;                    /* the least of them */
    int is_line;                    /* taps are neighbours in memory, in whatever order */
    const REAL *end;                /* behind the last element of the whole array */
} NAMED(panel_weights_t);

static NAMED(panel_weights_t)
    NAMED(panel_weights)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t vector) {
    const correlation_t *c = &job->correlation;
    const int64_t of_tap = div_up(c->channels, LANES), channel = vector % of_tap * LANES, *stride = c->weight_stride;
    NAMED(panel_weights_t)
    p = {
        .first = (const REAL *)c->weight + group * c->weight_group_stride + panel * TILE_COLUMNS * stride[0] +
                 channel * stride[1] + vector / of_tap * stride[2],
        .stride = stride,
        .channels = min64(LANES, c->channels - channel),
        .filters = min64(TILE_COLUMNS, c->filters - panel * TILE_COLUMNS),
        .area = c->taps[1] * c->taps[2],
    };
    int64_t high = 0;
    for (int64_t tap = 0; tap < p.area; tap++) {
        p.at[tap] = tap / c->taps[2] * stride[3] + tap % c->taps[2] * stride[4];
        p.low = min64(p.low, p.at[tap]);
        high = max64(high, p.at[tap]);
    }
    p.is_line = high - p.low == p.area - 1;
    const int64_t last[] = {c->filters - 1, c->channels - 1, c->taps[0] - 1};
    p.end = (const REAL *)c->weight + high + 1 + max64(c->weight_group_stride * (c->groups - 1), 0);
    for (int axis = 0; axis < 3; axis++) p.end += max64(last[axis] * stride[axis], 0);
    return p;
}

/* Elements [0, count) of the lines of all filters, `filter_stride` apart: element j to row slot[j] of `taps`. Up to
 * `room` elements of every line may be read. */
static void NAMED(transpose_lines)(const REAL *lines, int64_t filter_stride, int64_t filters, int64_t count,
                                   int64_t room, const int64_t *slot, REAL *taps) {
    int64_t filter = 0;
    for (; room >= LANES && filter + LANES <= filters; filter += LANES)
        for (int64_t j = 0; j < count; j += LANES) {
            const int64_t start = min64(j, room - LANES), end = min64(start + LANES, count);
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = *(const NAMED(unaligned) *)(lines + (filter + i) * filter_stride + start);
            NAMED(transpose)(square);
            for (int64_t i = j; i < end; i++)
                *(NAMED(vector) *)(taps + slot[i] * TILE_COLUMNS + filter) = square[i - start];
        }
    for (; filter < filters; filter++)
        for (int64_t j = 0; j < count; j++) taps[slot[j] * TILE_COLUMNS + filter] = lines[filter * filter_stride + j];
}

static void NAMED(gather_taps)(const NAMED(panel_weights_t) *p, REAL *taps) {
    const int64_t *stride = p->stride, area = p->area;
    int64_t slot[LANES * WINOGRAD_MOST_TAPS];
    if (p->channels < LANES || p->filters < TILE_COLUMNS) NAMED(zero_line)(taps, LANES * area * TILE_COLUMNS);
    if (stride[0] == 1) { /* lines of filters */
        for (int64_t i = 0; i < p->channels * area; i++) NAMED(copy_line)
        (taps + i * TILE_COLUMNS, p->first + i / area * stride[1] + p->at[i % area], 1, p->filters);
    } else if (stride[1] == 1) { /* lines of channels */
        for (int64_t tap = 0; tap < area; tap++) {
            for (int64_t i = 0; i < p->channels; i++) slot[i] = i * area + tap;
            NAMED(transpose_lines)
            (p->first + p->at[tap], stride[0], p->filters, p->channels, p->channels, slot, taps);
        }
    } else if (p->is_line) { /* lines of taps, of all channels or of each */
        const int64_t lines = stride[1] == area ? 1 : p->channels, of_line = p->channels / lines;
        for (int64_t i = 0; i < of_line; i++)
            for (int64_t tap = 0; tap < area; tap++) slot[i * area + p->at[tap] - p->low] = i * area + tap;
        for (int64_t line = 0; line < lines; line++) {
            const REAL *first = p->first + p->low + line * stride[1];
            /* What lies behind a line is of the array, too, up to its end. */
            const int64_t room = p->end - (first + max64((p->filters - 1) * stride[0], 0));
            NAMED(transpose_lines)
            (first, stride[0], p->filters, of_line * area, min64(room, max64(of_line * area, LANES)), slot,
             taps + line * area * TILE_COLUMNS);
        }
    } else {
        for (int64_t i = 0; i < p->channels * area; i++)
            for (int64_t filter = 0; filter < p->filters; filter++)
                taps[i * TILE_COLUMNS + filter] = p->first[filter * stride[0] + i / area * stride[1] + p->at[i % area]];
    }
}

/* Panel `panel` of filters, vector `vector` of the reduction, of all points, to target[lane][filter] + point * plane.
 */
static void NAMED(transform_weights)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t vector,
                                     REAL *target, int64_t plane) {
    const correlation_t *c = &job->correlation;
    const NAMED(panel_weights_t) weights = NAMED(panel_weights)(job, group, panel, vector);
    const int64_t area = weights.area;
    REAL taps[LANES * WINOGRAD_MOST_TAPS * TILE_COLUMNS] __attribute__((aligned(64)));
    NAMED(gather_taps)(&weights, taps);
    const NAMED(tile_transform_fn) transform = NAMED(tile_transform)(job, TRANSFORM_WEIGHT, c->taps + 1);
    for (int64_t lane = 0; lane < LANES; lane++)
        for (int64_t i = 0; i < TILE_COLUMNS; i += LANES)
            transform(
                (NAMED(tile_array_t)){taps + lane * area * TILE_COLUMNS + i, c->taps[2] * TILE_COLUMNS, TILE_COLUMNS},
                (NAMED(tile_array_t)){target + lane * TILE_COLUMNS + i, job->points[1] * plane, plane}, NULL);
}

static void NAMED(winograd_pack_weight)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_panels(job, TILE_COLUMNS);
    const int64_t vectors = reduction / LANES, group = item / (panels * vectors);
    const int64_t panel = item / vectors % panels, vector = item % vectors;
    (void)scratch;
    NAMED(transform_weights)(job, group, panel, vector,
                             (REAL *)job->packed + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                                 (panel * reduction + vector * LANES) * TILE_COLUMNS,
                             winograd_plane(panels * TILE_COLUMNS * reduction));
}
