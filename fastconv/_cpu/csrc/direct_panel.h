/* Copies boxes of the user's arrays, of any strides, into panels of scratch. Nothing outside the array is read: panel
 * entries without an array element are zeros. */

/* The channels that lie side by side in a panel entry; one for lanes along the width. */
typedef struct {
    int64_t unit;
    int64_t filled;        /* channels that exist; the lanes after them are zeros */
    const int64_t *offset; /* of each from the first, in elements */
    int contiguous;        /* all exist and are neighbours in memory */
} NAMED(channels_t);

INLINE void NAMED(copy_strided)(REAL *to, const REAL *from, int64_t stride, int64_t count) {
    if (stride == 1)
        for (int64_t i = 0; i < count; i++) to[i] = from[i];
    else if (stride == 2)
        for (int64_t i = 0; i < count; i++) to[i] = from[2 * i];
    else
        for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
}

static void NAMED(copy_units)(REAL *to, const REAL *from, int64_t stride, int64_t count,
                              const NAMED(channels_t) *lanes) {
    for (int64_t i = 0; i < count; i++, to += lanes->unit, from += stride) {
        if (lanes->contiguous)
            for (int64_t l = 0; l < lanes->unit; l += LANES)
                *(NAMED(unaligned) *)(to + l) = *(const NAMED(unaligned) *)(from + l);
        else
            for (int64_t l = 0; l < lanes->unit; l++) to[l] = l < lanes->filled ? from[lanes->offset[l]] : 0;
    }
}

/* One row of a panel, all slots. `row` is the array's row, NULL: zeros. */
static void NAMED(fill_row)(REAL *to, const REAL *row, int64_t stride, const direct_window_t *w,
                            const NAMED(channels_t) *lanes) {
    const int64_t unit = lanes->unit, step = w->step[2];
    for (int64_t slot = 0; slot < w->slots; slot++, to += w->pitch[2]) {
        const int64_t start = w->start[2] + slot * w->slot_shift % step, left = w->size[2] - start;
        int64_t begin = start < 0 ? div_up(-start, step) : 0, end = left > 0 ? div_up(left, step) : 0;
        end = min64(end, w->count[2]);
        if (row == NULL || begin >= end) begin = end = 0;
        memset(to, 0, (size_t)(begin * unit) * sizeof(REAL));
        if (begin < end) {
            const REAL *from = row + (start + begin * step) * stride;
            if (unit == 1)
                NAMED(copy_strided)(to + begin, from, step * stride, end - begin);
            else
                NAMED(copy_units)(to + begin * unit, from, step * stride, end - begin, lanes);
        }
        memset(to + end * unit, 0, (size_t)(w->pitch[2] - end * unit) * sizeof(REAL));
    }
}

/* A whole panel of one channel (or unit) from `array` with strides `stride` of the d, h and w axes. */
static void NAMED(fill_panel)(REAL *panel, const REAL *array, const int64_t *stride, const direct_window_t *w,
                              const NAMED(channels_t) *lanes) {
    for (int64_t i = 0; i < w->count[0]; i++) {
        const int64_t d = w->start[0] + i * w->step[0];
        for (int64_t j = 0; j < w->count[1]; j++) {
            const int64_t h = w->start[1] + j * w->step[1];
            const int inside = d >= 0 && d < w->size[0] && h >= 0 && h < w->size[1];
            NAMED(fill_row)(panel + i * w->pitch[0] + j * w->pitch[1],
                            inside ? array + d * stride[0] + h * stride[1] : NULL, stride[2], w, lanes);
        }
    }
}

/* The source channels (or, `of_results`, the result channels) of the result channels from `first` on. */
static NAMED(channels_t) NAMED(channels_from)(const direct_job_t *job, int64_t first, int64_t *offset, int of_results) {
    const correlation_t *c = &job->correlation;
    const int64_t stride = of_results ? c->result_stride[1] : c->source_stride[1];
    NAMED(channels_t) lanes = {job->unit, min64(job->unit, c->groups * c->filters - first), offset, 0};
    const int64_t origin = first / c->filters * c->channels;
    for (int64_t l = 0; l < lanes.filled; l++)
        offset[l] = stride * (of_results ? l : (first + l) / c->filters * c->channels - origin);
    lanes.contiguous =
        lanes.filled == job->unit && stride == 1 && (of_results || (c->filters == 1 && c->channels == 1));
    return lanes;
}
