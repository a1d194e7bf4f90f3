/* Transformed weights: G weight G^T for one panel of filters and one vector of the reduction.
 *
 * Taps are gathered from the weight's own strides to taps[h][w][filter] and transformed with filters as lanes. */
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
