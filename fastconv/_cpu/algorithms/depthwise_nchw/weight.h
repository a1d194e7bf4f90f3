/* Depthwise backward_weight on images whose rows are neighbours in memory, read where they lie; see correlate.h.
 *
 *     weight[c, t] = sum over n, p of  source[n, c, p*step + first + t] * gradient[n, c, p]
 *
 * A tile is up to NCHW_ROWS rows of pixels of one vector along the width: their gradients are in registers, and a
 * source row that is loaded once for a width tap meets all of them. Numerics: each tile is summed from zero, added to
 * sums by lane that are added up at last; parts are added in order. The bits depend on the problem alone. */
typedef struct {
    const correlation_t *correlation;
    NAMED(extent_t) source_extent;
    NAMED(extent_t) gradient_extent;
    NAMED(plane_t) plane;
    NAMED(plane_t) gradient;
    const MASK *const *columns;
    REAL *sums; /* [width tap][height tap][lane] */
} NAMED(nchw_gradient_t);

ALWAYS_INLINE void NAMED(nchw_gradient_block)(const int rows, const int taps, const int step,
                                              const NAMED(nchw_gradient_t) *t, int64_t h) {
    const int lines = (rows - 1) * step + taps;
    const correlation_t *c = t->correlation;
    const int64_t pixels = c->pixels[2], width_taps = c->taps[2];
    const REAL *line[3 * NCHW_ROWS];
    for (int i = 0; i < lines; i++) line[i] = NAMED(plane_row)(&t->plane, h * step + c->first[1] + i);
    const REAL *last_line = t->plane.base + (h * step + c->first[1] + taps - 1) * t->plane.pitch;
    for (int64_t v = 0; v * LANES < pixels; v++) {
        const int64_t at = NAMED(column)(v, pixels);
        const MASK *mask = t->columns[v];
        const REAL *gradient = t->gradient.base + h * t->gradient.pitch + at;
        NAMED(vector) pixel[NCHW_ROWS];
        NAMED(prefetch_rows)(last_line + at * step, t->plane.pitch, rows * step, step, 0);
        NAMED(prefetch_rows)(gradient, t->gradient.pitch, rows, 1, 0);
#pragma GCC unroll 8
        for (int a = 0; a < rows; a++)
            pixel[a] = NAMED(load_step)(gradient + a * t->gradient.pitch, 1, mask[width_taps]);
        int64_t from = at * step + c->first[2];
        REAL *to = t->sums;
        for (int64_t s = 0; s < width_taps; s++, from++) {
            const MASK keep = mask[s];
            NAMED(vector) sum[NCHW_ROWS];
#pragma GCC unroll 8
            for (int r = 0; r < taps; r++) sum[r] = (NAMED(vector)){0};
#pragma GCC unroll 32
            for (int i = 0; i < lines; i++) {
                const NAMED(vector) x = NAMED(load_step)(line[i] + from, step, keep);
#pragma GCC unroll 8
                for (int a = 0; a < rows; a++)
                    if (i - a * step >= 0 && i - a * step < taps) sum[i - a * step] += x * pixel[a];
            }
#pragma GCC unroll 8
            for (int r = 0; r < taps; r++, to += LANES) NAMED(store)(to, NAMED(load)(to) + sum[r]);
        }
    }
}

typedef void (*NAMED(nchw_gradient_fn))(const NAMED(nchw_gradient_t) *t, int64_t h);

#define BLOCK(name, rows, taps, step)                                                                                  \
    static void NAMED(name##_##rows)(const NAMED(nchw_gradient_t) *t, int64_t h) {                                     \
        NAMED(nchw_gradient_block)(rows, taps, step, t, h);                                                            \
    }
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_3, 3, 1)
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_5, 5, 1)
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_7, 7, 1)
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_3_strided, 3, 2)
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_5_strided, 5, 2)
TILE_BLOCKS(nchw_gradient_fn, nchw_gradient_7_strided, 7, 2)
#undef BLOCK
#undef BLOCKS
#undef FEW_BLOCKS
#undef TILE_BLOCKS

static const NAMED(nchw_gradient_fn) *NAMED(nchw_gradient_blocks)(const correlation_t *c) {
    switch (c->taps[1]) {
    case 3: return c->step[1] == 1 ? NAMED(nchw_gradient_3) : NAMED(nchw_gradient_3_strided);
    case 5: return c->step[1] == 1 ? NAMED(nchw_gradient_5) : NAMED(nchw_gradient_5_strided);
    default: return c->step[1] == 1 ? NAMED(nchw_gradient_7) : NAMED(nchw_gradient_7_strided);
    }
}

/* Adds rows [begin, end) of pixels of one channel of one image. */
static void NAMED(nchw_gradient_channel)(const nchw_job_t *job, NAMED(nchw_gradient_t) *t, int64_t n, int64_t channel,
                                         int64_t begin, int64_t end, char *memory) {
    const correlation_t *c = t->correlation;
    const int64_t reach = max64(LANES - c->pixels[2], 0);
    t->plane = NAMED(plane_at)((const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1],
                               c->source_stride + 3, c->source_size + 1, &t->source_extent, job->before, job->after,
                               begin * c->step[1] + c->first[1], (end - 1) * c->step[1] + c->first[1] + c->taps[1],
                               (REAL *)(memory + job->source_at), job->pitch, (const REAL *)memory + job->before);
    t->gradient = NAMED(plane_at)((const REAL *)c->result + n * c->result_stride[0] + channel * c->result_stride[1],
                                  c->result_stride + 3, c->pixels + 1, &t->gradient_extent, 0, reach, begin, end,
                                  (REAL *)(memory + job->gradient_at), job->gradient_pitch, NULL);
    const NAMED(nchw_gradient_fn) *blocks = NAMED(nchw_gradient_blocks)(c);
    for (int64_t h = begin, height; h < end; h += height) {
        height = NAMED(tile_height)(end - h);
        blocks[height - 1](t, h);
    }
}

/* Adds up lanes by halves. */
ALWAYS_INLINE REAL NAMED(sum_of_lanes)(const REAL *from) {
    REAL lanes[LANES];
    memcpy(lanes, from, sizeof lanes);
#pragma GCC unroll 4
    for (int half = LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* The finished sums of one channel, as part `part` or into the result. */
static void NAMED(nchw_gradient_store)(const nchw_job_t *job, const REAL *sums, int64_t channel, int64_t part) {
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t taps = c->taps[1] * c->taps[2];
    for (int64_t s = 0; s < c->taps[2]; s++)
        for (int64_t r = 0; r < c->taps[1]; r++, sums += LANES) {
            const REAL value = NAMED(sum_of_lanes)(sums);
            if (job->partial != NULL)
                ((REAL *)job->partial)[(part * c->groups + channel) * taps + r * c->taps[2] + s] = value;
            else
                *NAMED(weight_at)(c, channel, 0, r * c->taps[2] + s) = value;
        }
}

/* One item: a part of the bands of all images for some channels. */
static void NAMED(weight_gradient)(const void *data, int64_t item, void *scratch) {
    const nchw_job_t *job = (const nchw_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t part = item % job->partials, first = item / job->partials * job->block;
    const int64_t last = min64(first + job->block, c->groups), bands = nchw_bands(job), all = c->batch * bands;
    const int64_t size = c->taps[1] * c->taps[2] * LANES;
    char *memory = (char *)scratch;
    REAL *sums = (REAL *)(memory + job->sums_at);
    const MASK **columns = (const MASK **)(memory + job->columns_at);
    NAMED(make_masks)(c, 1, (MASK *)(memory + job->masks_at), columns);
    for (int64_t i = 0; i < job->pitch; i++) ((REAL *)memory)[i] = 0;
    for (int64_t i = 0; i < (last - first) * size; i++) sums[i] = 0;
    NAMED(nchw_gradient_t)
    t = {.correlation = c,
         .source_extent = NAMED(extent_of)(c->source, c->source_stride, c, c->source_size),
         .gradient_extent = NAMED(extent_of)(c->result, c->result_stride, c, c->pixels),
         .columns = columns};
    for (int64_t i = all * part / job->partials; i < all * (part + 1) / job->partials; i++)
        for (int64_t channel = first; channel < last; channel++) {
            const int64_t begin = i % bands * job->band, end = min64(begin + job->band, c->pixels[1]);
            t.sums = sums + (channel - first) * size;
            NAMED(nchw_gradient_channel)(job, &t, i / bands, channel, begin, end, memory);
        }
    for (int64_t channel = first; channel < last; channel++)
        NAMED(nchw_gradient_store)(job, sums + (channel - first) * size, channel, part);
}

/* An item is one channel: its parts, added in order. */
static void NAMED(weight_reduce)(const void *data, int64_t item, void *scratch) {
    const nchw_job_t *job = (const nchw_job_t *)data;
    const correlation_t *c = &job->phases[0].correlation;
    const int64_t taps = c->taps[1] * c->taps[2];
    const REAL *partial = (const REAL *)job->partial + item * taps;
    (void)scratch;
    for (int64_t i = 0; i < taps; i++) {
        REAL value = partial[i];
        for (int64_t part = 1; part < job->partials; part++) value += partial[part * c->groups * taps + i];
        *NAMED(weight_at)(c, item, 0, i) = value;
    }
}
#undef MASK
