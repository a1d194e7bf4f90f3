/* Weight gradients by Winograd's minimal filtering: F(r, m), the output gradient's tiles in the role of the weights.
 *
 *     weight = A^T [ sum over tiles of (G gradient G^T) * (B^T source B) ] A        m x m pixels a tile, r x r results
 *
 * The tiles are taken in passes over tile rows. In a pass both operands are transformed, once each, and then multiplied
 * with the tiles as the reduction; the sums of all passes are transformed back at the end. Threads share a pass, or,
 * where sums are small, take splits of the passes: they then read nothing that another one has written. Layout:
 *
 *     source   [point][strip][tile][strip width]      strips of TILE_ROWS vectors of channels, the last one narrower
 *     gradient [point][panel][tile][TILE_COLUMNS]
 *     sums     [point][panel][channel][TILE_COLUMNS]
 *
 * Numerics: every pass is summed from zero, passes are added in order and so are splits; the bits depend on the sizes
 * of both, never on threads. */

/* c[i][v] (+)= sum over tiles of a[tile][i] * b[tile][v]; rows of a are `a_stride` elements apart. */
ALWAYS_INLINE void NAMED(gradient_tile_of)(const int rows, int64_t tiles, const REAL *a, int64_t a_stride,
                                           const REAL *b, REAL *c, int accumulate) {
    NAMED(vector) sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] = (NAMED(vector)){0};
#pragma GCC unroll 4
    for (int64_t tile = 0; tile < tiles; tile++, a += a_stride, b += TILE_COLUMNS) {
        NAMED(vector) columns[TILE_VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) columns[v] = *(const NAMED(vector) *)(b + v * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] += columns[v] * a[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) {
            NAMED(vector) *target = (NAMED(vector) *)(c + i * TILE_COLUMNS + v * LANES);
            *target = accumulate ? *target + sum[i][v] : sum[i][v];
        }
}

typedef void (*NAMED(gradient_tile_fn))(int64_t tiles, const REAL *a, int64_t a_stride, const REAL *b, REAL *c,
                                        int accumulate);
#define TILE(rows)                                                                                                     \
    static void JOIN(NAMED(gradient_tile), rows)(int64_t tiles, const REAL *a, int64_t a_stride, const REAL *b,        \
                                                 REAL *c, int accumulate) {                                            \
        NAMED(gradient_tile_of)(rows, tiles, a, a_stride, b, c, accumulate);                                           \
    }
EACH_ROWS(TILE)
#undef TILE
#define TILE(rows) JOIN(NAMED(gradient_tile), rows),
static const NAMED(gradient_tile_fn) NAMED(gradient_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE

/* Where one vector of the tiles of a pass lies in an operand: that of tile 0, and what is between tiles. */
typedef struct {
    REAL *first;
    int64_t step;
} NAMED(column_t);

static inline NAMED(column_t) NAMED(strip_column)(REAL *source, int64_t entry, int64_t reduction, int64_t tiles) {
    const int64_t width = TILE_ROWS * LANES, strip = entry / width * width;
    return (NAMED(column_t)){source + strip * tiles + entry - strip, min64(width, reduction - strip)};
}

static inline NAMED(column_t) NAMED(panel_column)(REAL *gradient, int64_t filter, int64_t tiles) {
    return (NAMED(column_t)){gradient + filter / TILE_COLUMNS * TILE_COLUMNS * tiles + filter % TILE_COLUMNS,
                             TILE_COLUMNS};
}

/* The pixels of the output gradient under a patch for one vector of filters, to pixels[row][column][lane]; returns the
 * columns. */
static int64_t NAMED(gather_gradient)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group,
                                      int64_t filter, REAL *pixels) {
    const correlation_t *c = &job->correlation;
    const REAL *gradient = (const REAL *)c->result + patch->image * c->result_stride[0] +
                           (group * c->filters + filter) * c->result_stride[1] + patch->plane * c->result_stride[2];
    const NAMED(window_t) window =
        NAMED(window_of)(job, filter < c->filters ? gradient : NULL, c->result_stride, c->pixels, patch->residue,
                         min64(LANES, c->filters - filter), patch->begin[0], patch->begin[1],
                         patch->rows * job->outputs[0], patch->columns * job->outputs[1]);
    NAMED(gather_window)(&window, pixels);
    /* What is another patch's counts once. */
    NAMED(zero_line)(pixels, patch->early[0] * window.columns * LANES);
    for (int64_t row = 0; row < window.rows && patch->early[1] > 0; row++)
        NAMED(zero_line)(pixels + row * window.columns * LANES, patch->early[1] * LANES);
    return window.columns;
}

/* One window of the source, or one vector of filters of the gradient, of all tiles of the pass. */
static void NAMED(operand)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_panels(job, TILE_COLUMNS);
    const int64_t windows = winograd_windows(job, LANES), of_group = windows + panels * TILE_VECTORS;
    const int64_t group = item / of_group, number = item % of_group, filter = (number - windows) * LANES;
    const int is_source = number < windows;
    const int64_t last_row = min64(job->pass_first + job->pass_rows, winograd_tile_rows(job));
    const winograd_tiles_t tiles = winograd_tiles(job, job->pass_first, last_row, 0, job->tiles[1]);
    const int64_t all = tiles.first[4];
    const int64_t plane = winograd_plane(is_source ? all * reduction : all * panels * TILE_COLUMNS);
    const int64_t *phases = is_source ? job->source_phases : job->result_phases, count = phases[0] * phases[1];
    const NAMED(tile_transform_fn) transform =
        NAMED(tile_transform)(job, is_source ? TRANSFORM_SOURCE : TRANSFORM_WEIGHT, job->outputs);
    REAL *const source = (REAL *)job->transformed + group * winograd_pass_source_size(job, LANES);
    REAL *const gradient = (REAL *)job->gradient + group * winograd_pass_gradient_size(job, TILE_COLUMNS);
    REAL *pixels = (REAL *)scratch;
    winograd_patch_t patch = winograd_before_patches(&tiles);
    while (winograd_next_patch(job, &tiles, job->block[0], &patch)) {
        const int64_t width = is_source ? NAMED(gather_source)(job, &patch, group, number, pixels)
                                        : NAMED(gather_gradient)(job, &patch, group, filter, pixels);
        for (int64_t phase = 0; phase < count; phase++) {
            const NAMED(column_t) to =
                is_source ? NAMED(strip_column)(source, (winograd_phase_place(job, phase) * windows + number) * LANES,
                                                reduction, all)
                          : NAMED(panel_column)(gradient, filter, all);
            REAL *target = to.first + patch.tile * to.step;
            for (int64_t row = 0; row < patch.rows; row++, target += patch.columns * to.step)
                transform(NAMED(tile_at)(pixels, job->outputs, phases, phase, row, 0, width),
                          (NAMED(tile_array_t)){target, job->tile_size[1] * plane, plane, to.step}, patch.columns,
                          NULL);
        }
    }
}

/* The sums of one point for one panel of filters and all channels. */
static void NAMED(product)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_panels(job, TILE_COLUMNS);
    const int64_t points = winograd_points(job), group = item / (points * panels);
    const int64_t point = item / panels % points, panel = item % panels, width = TILE_ROWS * LANES;
    const int64_t last_row = min64(job->pass_first + job->pass_rows, winograd_tile_rows(job));
    const winograd_tiles_t tiles = winograd_tiles(job, job->pass_first, last_row, 0, job->tiles[1]);
    const winograd_span_t needed = winograd_tiles_of_point(job, &tiles, winograd_point(job, point));
    const winograd_span_t vectors =
        winograd_vectors_of_point(job, winograd_point(job, point), winograd_windows(job, LANES));
    const int64_t all = tiles.first[4], first = vectors.first * LANES, last = vectors.last * LANES;
    const REAL *source = (const REAL *)job->transformed + group * winograd_pass_source_size(job, LANES) +
                         point * winograd_plane(all * reduction);
    const REAL *gradient = (const REAL *)job->gradient + group * winograd_pass_gradient_size(job, TILE_COLUMNS) +
                           point * winograd_plane(all * panels * TILE_COLUMNS) +
                           (panel * all + needed.first) * TILE_COLUMNS;
    REAL *sums = (REAL *)job->sums + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                 point * winograd_plane(panels * TILE_COLUMNS * reduction) + panel * TILE_COLUMNS * reduction;
    (void)scratch;
    NAMED(zero_line)(sums, first * TILE_COLUMNS);
    NAMED(zero_line)(sums + last * TILE_COLUMNS, (reduction - last) * TILE_COLUMNS);
    for (int64_t strip = first / width * width; strip < last; strip += width) {
        const int64_t count = min64(width, reduction - strip), end = min64(count, last - strip);
        const REAL *of_strip = source + strip * all + needed.first * count;
        for (int64_t i = max64(first - strip, 0); i < end; i += TILE_ROWS)
            NAMED(gradient_tiles)[min64(TILE_ROWS, end - i)](needed.last - needed.first, of_strip + i, count, gradient,
                                                             sums + (strip + i) * TILE_COLUMNS, job->accumulates);
    }
}

/* One split: its passes of this round, in scratch of its own and into sums of its own. */
static void NAMED(split)(const void *data, int64_t split, void *scratch) {
    winograd_job_t job = *(const winograd_job_t *)data;
    const int64_t own = winograd_split_passes(&job), first = split * own;
    const int64_t begin = first + job.round_first, end = min64(begin + job.round_passes, first + own);
    const int64_t groups = job.correlation.groups;
    job.transformed = (char *)scratch;
    job.gradient = (char *)((REAL *)scratch + groups * winograd_pass_source_size(&job, LANES));
    job.sums += split * winograd_sums_bytes(&job, TILE_COLUMNS, LANES, REAL_BYTES);
    char *pixels = (char *)scratch + winograd_pass_bytes(&job, TILE_COLUMNS, LANES, REAL_BYTES);
    for (int64_t pass = begin; pass < min64(end, winograd_passes(&job)); pass++) {
        job.pass_first = pass * job.pass_rows;
        job.accumulates = pass > first;
        for (int64_t item = 0; item < winograd_operand_items(&job, TILE_COLUMNS, LANES); item++)
            NAMED(operand)(&job, item, pixels);
        for (int64_t item = 0; item < winograd_product_items(&job, TILE_COLUMNS); item++)
            NAMED(product)(&job, item, NULL);
    }
}

/* Adds the sums of all splits to those of the first: of one vector of the reduction, at all points. */
static void NAMED(add_splits)(const winograd_job_t *job, REAL *sums, int64_t plane) {
    const int64_t step = winograd_sums_bytes(job, TILE_COLUMNS, LANES, REAL_BYTES) / REAL_BYTES;
    for (int64_t split = 1; split < job->splits; split++)
        for (int64_t point = 0; point < winograd_points(job); point++) {
            REAL *to = sums + point * plane;
            const REAL *from = to + split * step;
            for (int64_t i = 0; i < LANES * TILE_COLUMNS; i++) to[i] += from[i];
        }
}

/* Columns [0, LANES) of `count` >= LANES rows of a panel, each to a line of its own. */
static void NAMED(store_lines)(const REAL *rows, int64_t count, REAL *lines, int64_t line_stride) {
    for (int64_t j = 0; j < count; j += LANES) {
        const int64_t first = min64(j, count - LANES); /* the last square begins early */
        NAMED(vector) square[LANES];
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) square[i] = *(const NAMED(vector) *)(rows + (first + i) * TILE_COLUMNS);
        NAMED(transpose)(square);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) *(NAMED(unaligned) *)(lines + i * line_stride + first) = square[i];
    }
}

/* Taps of one channel from the lines of all phases, in rows of `pitch`, to those of the kernel, one after the other. */
static void NAMED(close_ranks)(const correlation_t *c, int64_t pitch, const REAL *from, REAL *to) {
    for (int64_t h = 0; h < c->taps[1]; h++)
        for (int64_t w = 0; w < c->taps[2]; w++, to += TILE_COLUMNS)
            for (int64_t i = 0; i < TILE_COLUMNS; i++) to[i] = from[(h * pitch + w) * TILE_COLUMNS + i];
}

/* taps[channel][h][w][filter] of one panel and window to the weight's own strides. */
static void NAMED(store_taps)(const winograd_job_t *job, int64_t group, int64_t panel, int64_t window,
                              const REAL *taps) {
    const correlation_t *c = &job->correlation;
    const int64_t *stride = c->weight_stride, of_tap = winograd_windows(job, LANES) / c->taps[0];
    const int64_t channel = window % of_tap * LANES, area = c->taps[1] * c->taps[2];
    const int64_t channels = min64(LANES, c->channels - channel);
    const int64_t filters = min64(TILE_COLUMNS, c->filters - panel * TILE_COLUMNS);
    REAL *weight = (REAL *)c->weight + group * c->weight_group_stride + panel * TILE_COLUMNS * stride[0] +
                   channel * stride[1] + window / of_tap * stride[2];
    int64_t stored = 0;
    if (stride[1] == area && taps_are_dense(c) && channels * area >= LANES)
        for (; stored + LANES <= filters; stored += LANES)
            NAMED(store_lines)(taps + stored, channels * area, weight + stored * stride[0], stride[0]);
    for (int64_t filter = stored; filter < filters; filter++)
        for (int64_t lane = 0; lane < channels; lane++) {
            REAL *target = weight + filter * stride[0] + lane * stride[1];
            const REAL *tap = taps + lane * area * TILE_COLUMNS + filter;
            for (int64_t h = 0; h < c->taps[1]; h++)
                for (int64_t w = 0; w < c->taps[2]; w++, tap += TILE_COLUMNS)
                    target[h * stride[3] + w * stride[4]] = *tap;
        }
}

/* Sums of one panel of filters and one window, all phases, to the weight. */
static void NAMED(gradient)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t reduction = winograd_reduction(job, LANES), panels = winograd_panels(job, TILE_COLUMNS);
    const int64_t windows = winograd_windows(job, LANES), group = item / (panels * windows);
    const int64_t panel = item / windows % panels, window = item % windows;
    const int64_t phases = winograd_source_phases(job), pitch = job->taps[1] * job->source_phases[1];
    const int64_t whole = job->taps[0] * job->source_phases[0] * pitch;
    const int64_t area = phases > 1 ? c->taps[1] * c->taps[2] : whole;
    const int64_t plane = winograd_plane(panels * TILE_COLUMNS * reduction);
    const NAMED(tile_transform_fn) transform = NAMED(tile_transform)(job, TRANSFORM_RESULT, job->taps);
    REAL taps[LANES * WINOGRAD_MAX_TAPS * TILE_COLUMNS] __attribute__((aligned(64)));
    REAL apart[WINOGRAD_MAX_TAPS * TILE_COLUMNS] __attribute__((aligned(64)));
    REAL *sums = (REAL *)job->sums + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                 (panel * reduction + window * LANES) * TILE_COLUMNS;
    NAMED(vector) check = {0};
    (void)scratch;
    for (int64_t phase = 0; phase < phases; phase++)
        NAMED(add_splits)(job, sums + phase * windows * LANES * TILE_COLUMNS, plane);
    for (int64_t lane = 0; lane < LANES; lane++) {
        REAL *of_lane = whole == area ? taps + lane * area * TILE_COLUMNS : apart;
        for (int64_t phase = 0; phase < phases; phase++)
            for (int64_t i = 0; i < TILE_COLUMNS; i += LANES)
                transform(
                    (NAMED(tile_array_t)){
                        sums + (winograd_phase_place(job, phase) * windows * LANES + lane) * TILE_COLUMNS + i,
                        job->tile_size[1] * plane, plane, 0},
                    NAMED(taps_of)(of_lane + i, job->source_phases, phase, pitch, TILE_COLUMNS, 0), 1, &check);
        if (whole != area) NAMED(close_ranks)(c, pitch, apart, taps + lane * area * TILE_COLUMNS);
    }
    if (!NAMED(is_zero)(&check)) job->spoiled[0] = 1;
    if (winograd_source_lanes(job) > 1)
        NAMED(scatter_lane_taps)(job, group, panel, window, taps);
    else
        NAMED(store_taps)(job, group, panel, window, taps);
}
