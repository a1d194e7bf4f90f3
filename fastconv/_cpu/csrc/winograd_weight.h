/* Transformed weights: G weight G^T for one panel of filters and one vector of the reduction.
 *
 * Taps are gathered from the weight's own strides to taps[h][w][filter] and transformed with filters as lanes. */
ALWAYS_INLINE void NAMED(transform_taps_of)(const int h_points, const int w_points, const int taps, const REAL *source,
                                            REAL *target, int64_t plane) {
    const int h_taps = h_points == 1 ? 1 : taps, w_taps = w_points == 1 ? 1 : taps;
    NAMED(vector) half[WINOGRAD_MOST_POINTS][WINOGRAD_MOST_POINTS];
#pragma GCC unroll 6
    for (int w = 0; w < w_taps; w++) {
        NAMED(vector) g[WINOGRAD_MOST_POINTS], u[WINOGRAD_MOST_POINTS];
#pragma GCC unroll 6
        for (int h = 0; h < h_taps; h++) g[h] = *(const NAMED(vector) *)(source + (h * w_taps + w) * TILE_COLUMNS);
        NAMED(transform_weight)(h_points, h_taps, g, u);
#pragma GCC unroll 6
        for (int h = 0; h < h_points; h++) half[h][w] = u[h];
    }
    for (int h = 0; h < h_points; h++) {
        NAMED(vector) u[WINOGRAD_MOST_POINTS];
        NAMED(transform_weight)(w_points, w_taps, half[h], u);
#pragma GCC unroll 6
        for (int w = 0; w < w_points; w++, target += plane) *(NAMED(vector) *)target = u[w];
    }
}

static void NAMED(transform_taps)(const winograd_job_t *job, const REAL *source, REAL *target, int64_t plane) {
#define SHAPE(h, w, taps)                                                                                              \
    case 100 * h + 10 * w + taps: NAMED(transform_taps_of)(h, w, taps, source, target, plane); break
    switch (100 * job->points[0] + 10 * job->points[1] + max64(job->correlation.taps[1], job->correlation.taps[2])) {
        SHAPE(4, 4, 3);
        SHAPE(1, 4, 3);
        SHAPE(4, 1, 3);
        SHAPE(6, 6, 3);
        SHAPE(1, 6, 3);
        SHAPE(6, 1, 3);
        SHAPE(6, 6, 5);
        SHAPE(1, 6, 5);
        SHAPE(6, 1, 5);
    }
#undef SHAPE
}

/* Panel `panel` of filters, vector `vector` of the reduction, of all points, to target[lane][filter] + point * plane.
 */
static void NAMED(transform_weights)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t vector,
                                     REAL *target, int64_t plane) {
    const correlation_t *c = &job->correlation;
    const int64_t of_tap = div_up(c->channels, LANES), d = vector / of_tap, channel = vector % of_tap * LANES;
    const int64_t channels = min64(LANES, c->channels - channel), area = c->taps[1] * c->taps[2];
    const int64_t filters = min64(TILE_COLUMNS, c->filters - panel * TILE_COLUMNS);
    const REAL *weight = (const REAL *)c->weight + group * c->weight_group_stride +
                         panel * TILE_COLUMNS * c->weight_stride[0] + channel * c->weight_stride[1] +
                         d * c->weight_stride[2];
    REAL taps[LANES * WINOGRAD_MOST_TAPS * TILE_COLUMNS] __attribute__((aligned(64)));
    if (channels < LANES || filters < TILE_COLUMNS) NAMED(zero_line)(taps, LANES * area * TILE_COLUMNS);
    /* The array is read in its own order: rows of filters a power of two apart would push each other out of L1. */
    const int filters_inside = c->weight_stride[0] * c->weight_stride[0] < c->weight_stride[1] * c->weight_stride[1];
    const int64_t outer = filters_inside ? channels : filters, inner = filters_inside ? filters : channels;
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < inner; j++) {
            const int64_t lane = filters_inside ? i : j, filter = filters_inside ? j : i;
            const REAL *source = weight + filter * c->weight_stride[0] + lane * c->weight_stride[1];
            REAL *tap = taps + lane * area * TILE_COLUMNS + filter;
            for (int64_t h = 0; h < c->taps[1]; h++)
                for (int64_t w = 0; w < c->taps[2]; w++, tap += TILE_COLUMNS)
                    *tap = source[h * c->weight_stride[3] + w * c->weight_stride[4]];
        }
    for (int64_t lane = 0; lane < LANES; lane++, target += TILE_COLUMNS)
        for (int v = 0; v < TILE_VECTORS; v++)
            NAMED(transform_taps)(job, taps + lane * area * TILE_COLUMNS + v * LANES, target + v * LANES, plane);
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
