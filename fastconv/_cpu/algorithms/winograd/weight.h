/* Transformed weights: G weight G^T for one panel of filters and one window of the source.
 *
 * Taps of one vector of filters, so few that they stay in L1 beside what they become, are gathered from the weight's
 * own strides to taps[channel][h][w][lane], h and w filled up with zeros to whole phases, and transformed with filters
 * as lanes. Whichever axis of the weight is contiguous, squares of LANES filters are transposed in registers. */

/* The taps of a phase as a tile, in rows of `pitch` taps of `width` filters, those of a channel `next` elements apart.
 */
static inline NAMED(tile_array_t)
    NAMED(taps_of)(REAL *taps, const int64_t *phases, int64_t phase, int64_t pitch, int64_t width, int64_t next) {
    return (NAMED(tile_array_t)){taps + (phase / phases[1] * pitch + phase % phases[1]) * width,
                                 phases[0] * pitch * width, phases[1] * width, next};
}

/* Those of a phase of the source or of the result. The latter sees its taps from the last to the first. */
static inline NAMED(tile_array_t)
    NAMED(phase_taps)(const winograd_job_t *job, REAL *taps, int64_t phase, int64_t pitch, int64_t next) {
    if (winograd_result_phases(job) == 1) return NAMED(taps_of)(taps, job->source_phases, phase, pitch, LANES, next);
    NAMED(tile_array_t) tile = NAMED(taps_of)(taps, job->result_phases, phase, pitch, LANES, next);
    if (job->result_phases[0] > 1) {
        tile.base += (job->taps[0] - 1) * tile.line;
        tile.line = -tile.line;
    }
    if (job->result_phases[1] > 1) {
        tile.base += (job->taps[1] - 1) * tile.step;
        tile.step = -tile.step;
    }
    return tile;
}

/* The weights of one vector of filters: `channels` and `filters` <= LANES of them. */
typedef struct {
    const REAL *first; /* tap (0, 0) of the first channel and filter */
    const int64_t *stride;
    int64_t channels;
    int64_t filters;
    int64_t area;                     /* taps */
    int64_t whole;                    /* with those that are filled up */
    int64_t at[WINOGRAD_MAX_TAPS];    /* offset of each tap */
    int64_t place[WINOGRAD_MAX_TAPS]; /* and number of its row in `taps` */
    int64_t low;                      /* the least of them */
    int is_line;                      /* taps are neighbours in memory, in whatever order */
    const REAL *end;                  /* behind the last element of the whole array */
} NAMED(panel_weights_t);

static NAMED(panel_weights_t) NAMED(panel_weights)(const winograd_job_t *job, int64_t group, int64_t filter,
                                                   int64_t window, int64_t pitch, int64_t whole) {
    const correlation_t *c = &job->correlation;
    const int64_t of_tap = div_up(c->channels, LANES), channel = window % of_tap * LANES, *stride = c->weight_stride;
    NAMED(panel_weights_t)
    p = {
        .first = (const REAL *)c->weight + group * c->weight_group_stride + filter * stride[0] + channel * stride[1] +
                 window / of_tap * stride[2],
        .stride = stride,
        .channels = min64(LANES, c->channels - channel),
        .filters = max64(min64(LANES, c->filters - filter), 0),
        .area = c->taps[1] * c->taps[2],
        .whole = whole,
    };
    int64_t high = 0;
    for (int64_t tap = 0; tap < p.area; tap++) {
        p.at[tap] = tap / c->taps[2] * stride[3] + tap % c->taps[2] * stride[4];
        p.place[tap] = (tap / c->taps[2] + job->lead[0]) * pitch + tap % c->taps[2] + job->lead[1];
        p.low = min64(p.low, p.at[tap]);
        high = max64(high, p.at[tap]);
    }
    p.is_line = high - p.low == p.area - 1;
    const int64_t last[] = {c->filters - 1, c->channels - 1, c->taps[0] - 1};
    p.end = (const REAL *)c->weight + high + 1 + max64(c->weight_group_stride * (c->groups - 1), 0);
    for (int axis = 0; axis < 3; axis++) p.end += max64(last[axis] * stride[axis], 0);
    return p;
}

static void NAMED(gather_taps)(const NAMED(panel_weights_t) *p, REAL *taps) {
    const int64_t *stride = p->stride, area = p->area, whole = p->whole;
    int64_t slot[LANES * WINOGRAD_MAX_TAPS];
    if (p->channels < LANES || p->filters < LANES || area < whole) NAMED(zero_line)(taps, LANES * whole * LANES);
    if (stride[0] == 1) { /* lines of filters */
        for (int64_t i = 0; i < p->channels * area; i++) NAMED(copy_line)
        (taps + (i / area * whole + p->place[i % area]) * LANES, p->first + i / area * stride[1] + p->at[i % area], 1,
         p->filters);
    } else if (stride[1] == 1) { /* lines of channels */
        for (int64_t tap = 0; tap < area; tap++) {
            for (int64_t i = 0; i < p->channels; i++) slot[i] = i * whole + p->place[tap];
            NAMED(transpose_lines)
            (p->first + p->at[tap], stride[0], p->filters, p->channels, p->channels, slot, taps);
        }
    } else if (p->is_line) { /* lines of taps, of all channels or of each */
        const int64_t lines = stride[1] == area ? 1 : p->channels, of_line = p->channels / lines;
        for (int64_t i = 0; i < of_line; i++)
            for (int64_t tap = 0; tap < area; tap++) slot[i * area + p->at[tap] - p->low] = i * whole + p->place[tap];
        for (int64_t line = 0; line < lines; line++) {
            const REAL *first = p->first + p->low + line * stride[1];
            /* What lies behind a line is of the array, too, up to its end. */
            const int64_t room = p->end - (first + max64((p->filters - 1) * stride[0], 0));
            NAMED(transpose_lines)
            (first, stride[0], p->filters, of_line * area, min64(room, max64(of_line * area, LANES)), slot,
             taps + line * whole * LANES);
        }
    } else {
        for (int64_t i = 0; i < p->channels * area; i++)
            for (int64_t filter = 0; filter < p->filters; filter++)
                taps[(i / area * whole + p->place[i % area]) * LANES + filter] =
                    p->first[filter * stride[0] + i / area * stride[1] + p->at[i % area]];
    }
}

/* Panel `panel` of the filters, window `window` of the source, in all phases and points, to
 * target[phase of the result][vector][lane][filter] + point * plane, `vectors` of the reduction from `first` on. */
static void NAMED(transform_weights)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t window,
                                     int64_t first, int64_t vectors, REAL *target, int64_t plane) {
    const int64_t pitch = job->taps[1] * job->source_phases[1] * job->result_phases[1];
    const int64_t sources = winograd_source_phases(job), results = winograd_result_phases(job);
    const int64_t size = vectors * LANES * TILE_COLUMNS;
    const int64_t whole = job->taps[0] * job->source_phases[0] * job->result_phases[0] * pitch;
    const NAMED(tile_transform_fn) transform = NAMED(tile_transform)(job, TRANSFORM_WEIGHT, job->taps);
    REAL taps[LANES * WINOGRAD_MAX_TAPS * LANES] __attribute__((aligned(64)));
    for (int64_t i = 0; i < TILE_COLUMNS; i += LANES) {
        const int64_t filter = panel * TILE_COLUMNS + i;
        if (winograd_source_lanes(job) * winograd_result_lanes(job) > 1) {
            NAMED(gather_lane_taps)(job, group, filter, window, taps);
        } else {
            const NAMED(panel_weights_t) weights = NAMED(panel_weights)(job, group, filter, window, pitch, whole);
            NAMED(gather_taps)(&weights, taps);
        }
        for (int64_t phase = 0; phase < sources * results; phase++) { /* of the source or of the result */
            const int64_t vector = winograd_vector(job, phase % sources, window) - first;
            REAL *to = target + (results > 1 ? phase * size : 0) + vector * LANES * TILE_COLUMNS + i;
            transform(NAMED(phase_taps)(job, taps, phase, pitch, whole * LANES),
                      (NAMED(tile_array_t)){to, job->tile_size[1] * plane, plane, TILE_COLUMNS}, LANES, NULL);
        }
    }
}

static void NAMED(pack_weight)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_phase_panels(job, TILE_COLUMNS);
    const int64_t windows = winograd_windows(job, LANES), group = item / (panels * windows);
    const int64_t panel = item / windows % panels, size = winograd_result_phases(job) * reduction * TILE_COLUMNS;
    (void)scratch;
    NAMED(transform_weights)(job, group, panel, item % windows, 0, reduction / LANES,
                             (REAL *)job->packed + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                                 panel * size,
                             winograd_plane(panels * size));
}
