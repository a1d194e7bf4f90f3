/* Transformed weights: G weight G^T for one panel of filters and one vector of the reduction.
 *
 * Taps are gathered from the weight's own strides to taps[h][w][filter] and transformed with filters as lanes. */
ALWAYS_INLINE void NAMED(transform_taps)(const winograd_job_t *job, const REAL *taps, REAL *target, int64_t plane) {
    const int h_points = (int)job->points[0], w_points = (int)job->points[1];
    const int h_taps = (int)job->correlation.taps[1], w_taps = (int)job->correlation.taps[2];
    NAMED(vector) half[WINOGRAD_MOST_POINTS][WINOGRAD_MOST_POINTS];
    for (int w = 0; w < w_taps; w++) {
        NAMED(vector) g[WINOGRAD_MOST_POINTS], u[WINOGRAD_MOST_POINTS];
        for (int h = 0; h < h_taps; h++) g[h] = *(const NAMED(vector) *)(taps + (h * w_taps + w) * TILE_COLUMNS);
        NAMED(transform_weight)(h_points, h_taps, g, u);
        for (int h = 0; h < h_points; h++) half[h][w] = u[h];
    }
    for (int h = 0; h < h_points; h++) {
        NAMED(vector) u[WINOGRAD_MOST_POINTS];
        NAMED(transform_weight)(w_points, w_taps, half[h], u);
        for (int w = 0; w < w_points; w++, target += plane) *(NAMED(vector) *)target = u[w];
    }
}

static void NAMED(winograd_pack_weight)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_panels(job, TILE_COLUMNS);
    const int64_t plane = winograd_plane(panels * TILE_COLUMNS * reduction), vectors = reduction / LANES;
    const int64_t group = item / (panels * vectors), panel = item / vectors % panels, vector = item % vectors;
    const int64_t of_tap = vectors / c->taps[0], d = vector / of_tap, channel = vector % of_tap * LANES;
    const int64_t filters = min64(TILE_COLUMNS, c->filters - panel * TILE_COLUMNS);
    const REAL *weight = (const REAL *)c->weight + group * c->weight_group_stride +
                         panel * TILE_COLUMNS * c->weight_stride[0] + channel * c->weight_stride[1] +
                         d * c->weight_stride[2];
    REAL *target = (REAL *)job->packed + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                   (panel * reduction + vector * LANES) * TILE_COLUMNS;
    REAL taps[WINOGRAD_MOST_POINTS * WINOGRAD_MOST_POINTS * TILE_COLUMNS] __attribute__((aligned(64)));
    (void)scratch;
    for (int64_t lane = 0; lane < LANES; lane++, target += TILE_COLUMNS) {
        const REAL *source = weight + lane * c->weight_stride[1];
        const int64_t count = channel + lane < c->channels ? filters : 0;
        REAL *tap = taps;
        for (int64_t h = 0; h < c->taps[1]; h++)
            for (int64_t w = 0; w < c->taps[2]; w++, tap += TILE_COLUMNS) {
                const REAL *line = source + h * c->weight_stride[3] + w * c->weight_stride[4];
                for (int64_t i = 0; i < count; i++) tap[i] = line[i * c->weight_stride[0]];
                for (int64_t i = count; i < TILE_COLUMNS; i++) tap[i] = 0;
            }
        for (int v = 0; v < TILE_VECTORS; v++) NAMED(transform_taps)(job, taps + v * LANES, target + v * LANES, plane);
    }
}
