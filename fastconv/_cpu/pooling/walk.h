/* The walk over outputs that all pooling kernels share: rows, windows and runs. See job.h.
 *
 * A run is up to POOL_LANES outputs with the same number of taps on every axis, neighbours along w or along channels,
 * so that one tap of all of them is one strided line of the source. */

typedef struct {
    int64_t begin, taps; /* the part inside the source, taps `dilation` apart */
    int64_t extent;      /* taps inside the source and its padding */
} pool_window_t;

typedef struct {
    int64_t count;
    int64_t source, source_lane;     /* element offset of the first output's first tap; step from lane to lane */
    int64_t position, position_lane; /* index of that tap in the (D, H, W) plane */
    int64_t result, result_lane;
    int64_t index, index_lane;
    int64_t plane; /* element offset of the source plane */
    int64_t taps[3];
    int64_t divisor;
} pool_run_t;

typedef void (*pool_run_fn)(const pool_job_t *job, const pool_run_t *run);

static inline int64_t pool_min(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t pool_max(int64_t a, int64_t b) { return a > b ? a : b; }

static pool_window_t pool_window(const pool_axis_t *axis, int64_t output) {
    pool_window_t window;
    if (axis->adaptive) {
        window.begin = (int64_t)((__int128)output * axis->size / axis->outputs);
        window.taps =
            (int64_t)(((__int128)(output + 1) * axis->size + axis->outputs - 1) / axis->outputs) - window.begin;
        window.extent = window.taps;
        return window;
    }
    int64_t first = output * axis->step - axis->before, reach = (axis->taps - 1) * axis->dilation;
    window.begin = first;
    window.taps = window.extent = axis->taps;
    if (first >= 0 && first + reach < axis->size) return window;
    if (first + reach >= axis->size + axis->after)
        window.extent = pool_max((axis->size + axis->after - 1 - first) / axis->dilation + 1, 0);
    int64_t skipped = first < 0 ? (-first + axis->dilation - 1) / axis->dilation : 0;
    window.begin = first + skipped * axis->dilation;
    int64_t inside = window.begin < axis->size ? (axis->size - 1 - window.begin) / axis->dilation + 1 : 0;
    window.taps = pool_max(pool_min(axis->taps - skipped, inside), 0);
    return window;
}

/* Outputs [begin, end) whose windows lie wholly inside the source. */
static void pool_plain_outputs(const pool_axis_t *axis, int64_t *begin, int64_t *end) {
    int64_t last = axis->size - 1 - (axis->taps - 1) * axis->dilation + axis->before;
    *begin = *end = 0;
    if (axis->adaptive || last < 0) return;
    *begin = (axis->before + axis->step - 1) / axis->step;
    *end = pool_min(last / axis->step + 1, axis->outputs);
}

static int64_t pool_divisor(const pool_job_t *job, const pool_window_t *d, const pool_window_t *h,
                            const pool_window_t *w) {
    if (job->divisor != 0) return job->divisor;
    int64_t count = job->count_padding ? d->extent * h->extent * w->extent : d->taps * h->taps * w->taps;
    return count != 0 ? count : 1;
}

/* All runs of the row of `index` (n, channel block, d, h, segment). */
ALWAYS_INLINE void pool_row(const pool_job_t *job, const int64_t *index, pool_run_fn run_fn) {
    const pool_axis_t *axis = job->axis;
    const int64_t *source = job->source_stride, *result = job->result_stride, *where = job->index_stride;
    int64_t channel = index[1] * job->block_channels, plain_begin, plain_end;
    pool_window_t d = pool_window(&axis[0], index[2]), h = pool_window(&axis[1], index[3]);
    pool_plain_outputs(&axis[2], &plain_begin, &plain_end);
    pool_run_t run = {.taps = {d.taps, h.taps, 0}};
    run.plane = index[0] * source[0] + channel * source[1];
    int64_t source_row = run.plane + d.begin * source[2] + h.begin * source[3];
    int64_t result_row = index[0] * result[0] + channel * result[1] + index[2] * result[2] + index[3] * result[3];
    int64_t index_row = index[0] * where[0] + channel * where[1] + index[2] * where[2] + index[3] * where[3];
    int64_t position_row = (d.begin * axis[1].size + h.begin) * axis[2].size;
    int along_channels = job->lanes_along_channels != 0;
    run.source_lane = along_channels ? source[1] : source[4] * axis[2].step;
    run.result_lane = along_channels ? result[1] : result[4];
    run.index_lane = along_channels ? where[1] : where[4];
    run.position_lane = along_channels ? 0 : axis[2].step;

    int64_t output = index[4] * job->segment_outputs;
    int64_t end = pool_min(output + job->segment_outputs, axis[2].outputs);
    for (; output < end; output += along_channels ? 1 : run.count) {
        pool_window_t w = pool_window(&axis[2], output);
        run.count = 1;
        if (along_channels)
            run.count = pool_min(job->block_channels, job->channels - channel);
        else if (!job->single_outputs && output >= plain_begin && output < plain_end)
            run.count = pool_min(POOL_LANES, pool_min(plain_end, end) - output);
        run.taps[2] = w.taps;
        run.source = source_row + w.begin * source[4];
        run.position = position_row + w.begin;
        run.result = result_row + output * result[4];
        run.index = index_row + output * where[4];
        run.divisor = pool_divisor(job, &d, &h, &w);
        run_fn(job, &run);
    }
}

ONE_COPY void pool_item(const pool_job_t *job, int64_t item, pool_run_fn run_fn) {
    int64_t index[5], rows = 1, row = item * job->rows_per_item, rest = row;
    for (int axis = 4; axis >= 0; axis--) {
        rows *= job->row_sizes[axis];
        index[axis] = rest % job->row_sizes[axis];
        rest /= job->row_sizes[axis];
    }
    int64_t end = pool_min(row + job->rows_per_item, rows);
    for (; row < end; row++) {
        pool_row(job, index, run_fn);
        for (int axis = 4; axis >= 0 && ++index[axis] == job->row_sizes[axis]; axis--) index[axis] = 0;
    }
}

static inline int64_t pool_tap_count(const pool_run_t *run) { return run->taps[0] * run->taps[1] * run->taps[2]; }

/* Whether to take the one output of a run with lanes along its window's rows. */
static inline int pool_is_wide(const pool_job_t *job, const pool_run_t *run) {
    return run->count == 1 && !job->lanes_along_channels && run->taps[2] >= 16 && pool_tap_count(run) != 0;
}

/* Lanes that are taken together, and the longest row that is copied for a run. */
enum { POOL_CHUNK = 16, POOL_ROW = 3 * POOL_LANES };

/* Elements of a row from the first tap of a run's first output to the last tap of its last. */
static inline int64_t pool_span(const pool_job_t *job, const pool_run_t *run) {
    return (run->count - 1) * run->source_lane + (run->taps[2] - 1) * job->axis[2].dilation + 1;
}

/* Whether to take a run's maxima from copies of its rows: steps of 1 or 2 along neighbours, windows of several elements
 * that do not reach too far for places of 32 bits. */
static inline int pool_is_of_rows(const pool_job_t *job, const pool_run_t *run) {
    if (job->lanes_along_channels || job->source_stride[4] != 1 || job->axis[2].step > 2) return 0;
    if (run->count < POOL_CHUNK || run->taps[2] < 2 || pool_tap_count(run) == 0) return 0;
    const int64_t plane = job->axis[0].size * job->axis[1].size * job->axis[2].size;
    return plane <= INT32_MAX && pool_span(job, run) <= 2 * POOL_LANES;
}

/* Terms that are added in the element type before their sum goes to a double. */
enum { POOL_GROUP = 32 };
