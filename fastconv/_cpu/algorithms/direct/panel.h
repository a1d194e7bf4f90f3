/* Copies boxes of the user's arrays, of any strides, into panels of scratch and finished sums back. Nothing outside the
 * arrays is touched: panel entries without an array element are zeros. */

/* The channels that are copied together: one for lanes along the width, else some vectors, each with its own panel. */
typedef struct {
    int64_t unit;
    int64_t filled;        /* channels that exist; the lanes after them are zeros */
    const int64_t *offset; /* of each from the first, in elements */
    int64_t stride;        /* of evenly spaced ones; 0: use `offset` */
    int64_t pitch;         /* from a vector's panel to the next */
} NAMED(channels_t);

/* Zeros before `begin` and from `end` on in a row of whole vectors; some of what is between them is cleared, too. */
ALWAYS_INLINE void NAMED(zero_ends)(REAL *row, int64_t begin, int64_t end, int64_t size) {
    for (int64_t i = 0; i < begin; i += LANES) NAMED(store)(row + i, (NAMED(vector)){0});
    for (int64_t i = size - LANES; i > end - LANES; i -= LANES) NAMED(store)(row + i, (NAMED(vector)){0});
}

static void NAMED(copy_units)(REAL *to, const REAL *from, int64_t stride, int64_t count,
                              const NAMED(channels_t) *lanes) {
    const int64_t unit = lanes->unit, pitch = lanes->pitch, filled = lanes->filled; /* no store can change them */
    for (int64_t i = 0; i < count; i++, to += LANES, from += stride) {
        REAL *vector = to;
        int64_t l = 0;
        if (lanes->stride == 1)
            for (; l + LANES <= filled; l += LANES, vector += pitch) NAMED(store)(vector, NAMED(load)(from + l));
        for (; l < unit; l += LANES, vector += pitch)
            for (int64_t lane = 0; lane < LANES; lane++)
                vector[lane] = l + lane < filled ? from[lanes->offset[l + lane]] : 0;
    }
}

/* Units from planes whose pixels are neighbours in memory: squares of LANES channels x LANES pixels are transposed. In
 * each of `rows` rows of `width` pixels `kept` are wanted, `step` apart from pixel `first` on. At least LANES pixels.
 */
static void NAMED(transpose_in)(REAL *to, int64_t row_pitch, const REAL *planes, int64_t rows, int64_t width,
                                int64_t first, int64_t step, int64_t kept, const NAMED(channels_t) *lanes) {
    const int64_t pixels = rows * width;
    int64_t column = 0, wait = first, left = kept;
    REAL *place = to;
    for (int64_t q = 0; q < pixels; q += LANES) {
        const int64_t at = min64(q, pixels - LANES);
        REAL *places[LANES];
        int64_t found = 0;
        for (int64_t i = 0; i < LANES; i++) {
            places[i] = NULL;
            if (at + i < q) continue; /* done in the square before */
            if (wait == 0 && left > 0) {
                places[i] = place;
                place += LANES;
                found++;
                wait = step;
                left--;
            }
            wait--;
            if (++column == width) {
                column = 0;
                wait = first;
                left = kept;
                place = to += row_pitch;
            }
        }
        int64_t panel = 0;
        for (int64_t l = 0; l < lanes->unit; l += LANES, panel += lanes->pitch) {
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] =
                    l + i < lanes->filled ? NAMED(load)(planes + (l + i) * lanes->stride + at) : (NAMED(vector)){0};
            NAMED(transpose)(square);
            if (found == LANES)
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) NAMED(store)(places[i] + panel, square[i]);
            else
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++)
                    if (places[i] != NULL) NAMED(store)(places[i] + panel, square[i]);
        }
    }
}

/* The other way: `pixels` units that lie one after the other, at least LANES of them, into their planes. */
static void NAMED(transpose_out)(REAL *planes, const REAL *units, int64_t pixels, const NAMED(channels_t) *lanes) {
    for (int64_t q = 0; q < pixels; q += LANES) {
        const int64_t at = min64(q, pixels - LANES);
        const REAL *vectors = units + at * LANES;
        for (int64_t l = 0; l < lanes->unit; l += LANES, vectors += lanes->pitch) {
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) square[i] = NAMED(load)(vectors + i * LANES);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                if (l + i < lanes->filled) NAMED(store)(planes + (l + i) * lanes->stride + at, square[i]);
        }
    }
}

/* Entries [begin, end) of an axis (with `start` in place of its own, for a slot) lie inside the array. */
static inline void NAMED(inside)(const direct_window_t *w, int axis, int64_t start, int64_t *begin, int64_t *end) {
    const int64_t step = w->step[axis], left = w->size[axis] - start;
    *begin = start < 0 ? div_up(-start, step) : 0;
    *end = left > 0 ? min64(div_up(left, step), w->count[axis]) : 0;
    if (*begin >= *end) *begin = *end = 0;
}

/* A slice of units from planes: as squares of the whole plane or of each row, 0 where these are too short. */
static int NAMED(fill_transposed)(REAL *panel, const REAL *array, const int64_t *stride, const direct_window_t *w,
                                  const NAMED(channels_t) *lanes, int64_t column, int64_t kept) {
    int64_t begin, end;
    if (lanes->stride <= 1 || stride[2] != 1) return 0;
    NAMED(inside)(w, 1, w->start[1], &begin, &end);
    const int64_t step = w->step[2], span = (kept - 1) * step + 1, width = w->size[2];
    const REAL *row = array + (w->start[1] + begin * w->step[1]) * stride[1];
    panel += begin * w->pitch[1];
    if (w->step[1] == 1 && stride[1] == width && (end - begin) * width >= LANES && width < 2 * span) {
        NAMED(transpose_in)(panel, w->pitch[1], row, end - begin, width, column, step, kept, lanes);
        return 1;
    }
    if (span < LANES) return 0;
    for (int64_t j = begin; j < end; j++, panel += w->pitch[1], row += w->step[1] * stride[1])
        NAMED(transpose_in)(panel, w->pitch[1], row + column, 1, span, 0, step, kept, lanes);
    return 1;
}

/* The rows of a slice that lie inside the array; their zeros are in place. */
static void NAMED(fill_rows)(REAL *panel, const REAL *plane, const int64_t *stride, const direct_window_t *w,
                             const NAMED(channels_t) *lanes, int64_t column, int64_t kept) {
    const int64_t from_row = w->step[1] * stride[1];
    int64_t j, end;
    if (lanes->unit > 1 && NAMED(fill_transposed)(panel, plane, stride, w, lanes, column, kept)) return;
    NAMED(inside)(w, 1, w->start[1], &j, &end);
    REAL *to = panel + j * w->pitch[1];
    const REAL *from = plane + (w->start[1] + j * w->step[1]) * stride[1] + column * stride[2];
    if (lanes->unit == 1) NAMED(copy_rows)(to, w->pitch[1], from, from_row, w->step[2] * stride[2], kept, end - j);
    for (; lanes->unit > 1 && j < end; j++, to += w->pitch[1], from += from_row)
        NAMED(copy_units)(to, from, w->step[2] * stride[2], kept, lanes);
}

/* A whole panel of one channel (or panels of a unit) from `array` with strides `stride` of the d, h and w axes.
 * `zeroed`: it held another channel of the same window last, so that its zeros are in place. */
static void NAMED(fill_panel)(REAL *panel, const REAL *array, const int64_t *stride, const direct_window_t *w,
                              const NAMED(channels_t) *lanes, int zeroed) {
    const int64_t entry = lanes->unit == 1 ? 1 : LANES, row = w->pitch[2];
    for (int64_t slot = 0; slot < w->slots; slot++, panel += w->pitch[2]) {
        const int64_t start = w->start[2] + slot * w->slot_shift % w->step[2];
        int64_t begin, end;
        NAMED(inside)(w, 2, start, &begin, &end);
        for (int64_t i = 0; i < w->count[0]; i++) {
            const int64_t d = w->start[0] + i * w->step[0];
            const int inside = d >= 0 && d < w->size[0] && begin < end;
            REAL *slice = panel + i * w->pitch[0];
            for (int64_t j = 0; !zeroed && j < w->count[1]; j++) {
                const int64_t h = w->start[1] + j * w->step[1];
                const int kept = inside && h >= 0 && h < w->size[1];
                for (int64_t l = 0; l < lanes->unit; l += entry) NAMED(zero_ends)
                (slice + l / entry * lanes->pitch + j * w->pitch[1], kept ? begin * entry : row,
                 kept ? end * entry : row, row);
            }
            if (inside) NAMED(fill_rows)
            (slice + begin * entry, array + d * stride[0], stride, w, lanes, start + begin * w->step[2], end - begin);
        }
    }
}

/* The source channels (or, `of_results`, the result channels) of the result channels from `first` on. */
static NAMED(channels_t) NAMED(channels_from)(const direct_job_t *job, const correlation_t *c, int64_t first,
                                              int64_t *offset, int of_results, int64_t pitch) {
    const int64_t stride = of_results ? c->result_stride[1] : c->source_stride[1];
    const int even = of_results || (c->filters == 1 && c->channels == 1);
    NAMED(channels_t)
    lanes = {job->unit, min64(job->unit, c->groups * c->filters - first), offset, even ? stride : 0, pitch};
    const int64_t origin = first / c->filters * c->channels;
    for (int64_t l = 0; l < lanes.filled; l++)
        offset[l] = stride * (of_results ? l : (first + l) / c->filters * c->channels - origin);
    return lanes;
}
