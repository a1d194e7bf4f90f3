/* Phases as lanes: with fewer channels than lanes, the pairs (channel, phase) of a strided source take the place of the
 * channels, or those of a strided result that of the filters. They are gathered and scattered one by one, which few
 * channels allow; between that all is as with one phase (job.h). */

/* Lane number `element` of the channels or filters. */
typedef struct {
    int64_t channel;
    int64_t phase[2];
} NAMED(lane_t);

/* From one element of a lane to the next, in elements of an axis, which is split, dilated or neither. */
static inline int64_t NAMED(lane_step)(const winograd_job_t *job, const int64_t *lanes, int axis) {
    return lanes[axis] * job->spacing[axis];
}

static inline NAMED(lane_t) NAMED(lane_of)(const int64_t *lanes, int64_t element) {
    const int64_t phase = element % (lanes[0] * lanes[1]);
    return (NAMED(lane_t)){element / (lanes[0] * lanes[1]), {phase / lanes[1], phase % lanes[1]}};
}

/* Those of `count` elements first + step * i, i from 0, that lie in [0, size): from *begin, returning how many. */
static inline int64_t NAMED(lane_range)(int64_t first, int64_t step, int64_t count, int64_t size, int64_t *begin) {
    *begin = first >= 0 ? 0 : min64(div_up(-first, step), count);
    return max64(min64(first < size ? div_up(size - first, step) : 0, count) - *begin, 0);
}

/* The pixels under a patch for vector `number` of the pairs, to pixels[row][column][lane]; returns the columns. */
static int64_t NAMED(gather_lanes)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group,
                                   int64_t number, REAL *pixels) {
    const correlation_t *c = &job->correlation;
    const int64_t *split = job->source_lanes, *stride = c->source_stride;
    const int64_t of_tap = winograd_windows(job, LANES) / c->taps[0], first = number % of_tap * LANES;
    const int64_t plane = patch->plane * c->step[0] + c->first[0] + number / of_tap * c->delta[0];
    const int64_t rows = (patch->rows - 1) * job->outputs[0] + job->tile_size[0];
    const int64_t columns = (patch->columns - 1) * job->outputs[1] + job->tile_size[1];
    const int64_t lanes = min64(LANES, c->channels * split[0] * split[1] - first);
    const int64_t h_step = NAMED(lane_step)(job, split, 0), w_step = NAMED(lane_step)(job, split, 1);
    NAMED(zero_line)(pixels, rows * columns * LANES);
    if (plane < 0 || plane >= c->source_size[0]) return columns;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < lanes; i++) {
            const NAMED(lane_t) lane = NAMED(lane_of)(split, first + i);
            const int64_t h = (patch->begin[0] + row) * h_step + lane.phase[0] + patch->residue[0] + c->first[1];
            const int64_t w = patch->begin[1] * w_step + lane.phase[1] + patch->residue[1] + c->first[2];
            int64_t begin;
            const int64_t count = NAMED(lane_range)(w, w_step, columns, c->source_size[2], &begin);
            if (h < 0 || h >= c->source_size[1]) continue;
            const REAL *from = (const REAL *)c->source + patch->image * stride[0] +
                               (group * c->channels + lane.channel) * stride[1] + plane * stride[2] + h * stride[3] +
                               (w + begin * w_step) * stride[4];
            REAL *to = pixels + (row * columns + begin) * LANES + i;
            for (int64_t j = 0; j < count; j++) to[j * LANES] = from[j * w_step * stride[4]];
        }
    return columns;
}

/* Tap (h, w) of a tile on one axis in the kernel: below 0 or beyond the taps where the phase has none. The phases of
 * the result see theirs from the last to the first. */
static inline int64_t NAMED(lane_tap)(const winograd_job_t *job, int axis, int64_t phase, int64_t tap) {
    const int64_t of_source = job->source_lanes[axis], of_result = job->result_lanes[axis];
    return of_result == 1 ? of_source * tap + phase : of_result * (job->taps[axis] - 1 - tap) + phase - job->lead[axis];
}

/* Where the weight of tap (h, w) of a lane is; NULL: the phase has none. */
static REAL *NAMED(lane_weight)(const winograd_job_t *job, const NAMED(lane_t) *lane, REAL *weight, int64_t h,
                                int64_t w) {
    const correlation_t *c = &job->correlation;
    const int64_t at_h = NAMED(lane_tap)(job, 0, lane->phase[0], h), at_w = NAMED(lane_tap)(job, 1, lane->phase[1], w);
    if (at_h < 0 || at_h >= c->taps[1] || at_w < 0 || at_w >= c->taps[2]) return NULL;
    return weight + at_h * c->weight_stride[3] + at_w * c->weight_stride[4];
}

/* As gather_taps: to taps[channel][h][w][lane]. */
static void NAMED(gather_lane_taps)(const winograd_job_t *job, int64_t group, int64_t filter, int64_t window,
                                    REAL *taps) {
    const correlation_t *c = &job->correlation;
    const int64_t *stride = c->weight_stride, area = job->taps[0] * job->taps[1];
    const int64_t of_tap = winograd_windows(job, LANES) / c->taps[0], d = window / of_tap;
    REAL *const first = (REAL *)c->weight + group * c->weight_group_stride + d * stride[2];
    NAMED(zero_line)(taps, LANES * area * LANES);
    for (int64_t i = 0; i < LANES; i++)
        for (int64_t j = 0; j < LANES; j++) {
            const NAMED(lane_t) source = NAMED(lane_of)(job->source_lanes, window % of_tap * LANES + i);
            const NAMED(lane_t) result = NAMED(lane_of)(job->result_lanes, filter + j);
            if (source.channel >= c->channels || result.channel >= c->filters) continue;
            REAL *weight = first + result.channel * stride[0] + source.channel * stride[1];
            for (int64_t tap = 0; tap < area; tap++) {
                const REAL *from = NAMED(lane_weight)(job, winograd_result_lanes(job) > 1 ? &result : &source, weight,
                                                      tap / job->taps[1], tap % job->taps[1]);
                if (from != NULL) taps[(i * area + tap) * LANES + j] = *from;
            }
        }
}

/* A weight gradient's taps[channel][h][w][filter] of one panel and window to the weight's own strides. */
static void NAMED(scatter_lane_taps)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t window,
                                     const REAL *taps) {
    const correlation_t *c = &job->correlation;
    const int64_t *stride = c->weight_stride, area = job->taps[0] * job->taps[1];
    const int64_t of_tap = winograd_windows(job, LANES) / c->taps[0], d = window / of_tap;
    const int64_t filters = min64(TILE_COLUMNS, c->filters - panel * TILE_COLUMNS);
    REAL *const first =
        (REAL *)c->weight + group * c->weight_group_stride + panel * TILE_COLUMNS * stride[0] + d * stride[2];
    for (int64_t i = 0; i < LANES; i++) {
        const NAMED(lane_t) lane = NAMED(lane_of)(job->source_lanes, window % of_tap * LANES + i);
        if (lane.channel >= c->channels) break;
        for (int64_t tap = 0; tap < area; tap++) {
            REAL *to = NAMED(lane_weight)(job, &lane, first + lane.channel * stride[1], tap / job->taps[1],
                                          tap % job->taps[1]);
            for (int64_t j = 0; to != NULL && j < filters; j++)
                to[j * stride[0]] = taps[(i * area + tap) * TILE_COLUMNS + j];
        }
    }
}

/* The results of a patch for the pairs from number `first` on, from pixels[row][column][lane] with `columns` columns.
 */
static void NAMED(scatter_lanes)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group, int64_t first,
                                 int64_t columns, const REAL *pixels) {
    const correlation_t *c = &job->correlation;
    const epilogue_t *e = &job->epilogue;
    const int64_t *split = job->result_lanes, *stride = c->result_stride;
    const int64_t lanes = min64(LANES, c->filters * split[0] * split[1] - first), early = patch->early[1];
    const int64_t h_step = NAMED(lane_step)(job, split, 0), w_step = NAMED(lane_step)(job, split, 1);
    for (int64_t row = patch->early[0]; row < patch->rows * job->outputs[0]; row++)
        for (int64_t i = 0; i < lanes; i++) {
            const NAMED(lane_t) lane = NAMED(lane_of)(split, first + i);
            const int64_t filter = group * c->filters + lane.channel;
            const int64_t h = (patch->begin[0] + row) * h_step + lane.phase[0] + patch->residue[0] + job->origin[0];
            const int64_t left =
                (patch->begin[1] + early) * w_step + lane.phase[1] + patch->residue[1] + job->origin[1];
            int64_t begin;
            const int64_t count = NAMED(lane_range)(left, w_step, columns - early, c->pixels[2], &begin);
            const int64_t w = left + begin * w_step, step = w_step * stride[4];
            if (h < 0 || h >= c->pixels[1]) continue;
            REAL *to = (REAL *)c->result + patch->image * stride[0] + filter * stride[1] + patch->plane * stride[2] +
                       h * stride[3] + w * stride[4];
            const REAL *from = pixels + (row * columns + early + begin) * LANES + i;
            for (int64_t j = 0; j < count; j++) to[j * step] = from[j * LANES];
            if (NAMED(epilogue_is_empty)(e)) continue;
            const int64_t *add_stride = e->add_stride;
            const REAL *add = e->add == NULL
                                  ? NULL
                                  : (const REAL *)e->add + patch->image * add_stride[0] + filter * add_stride[1] +
                                        patch->plane * add_stride[2] + h * add_stride[3] + w * add_stride[4];
            const NAMED(finish_t) run = {.rows = 1,
                                         .count = count,
                                         .result = to,
                                         .stride = step,
                                         .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter,
                                         .add = add,
                                         .add_stride = w_step * add_stride[4]};
            NAMED(finish_rows)(e, &run);
        }
}
