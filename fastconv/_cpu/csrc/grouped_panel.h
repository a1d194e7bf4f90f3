/* What a band of pixels reads of the source for one block of filters, copied: in the arrays pixels are often so far
 * apart that a row of them fills a few sets of the first-level cache, and every tap would fetch it again.
 *
 * Layout: [plane][vector of channels][row][column][lane], in the order of the source; columns outside of it are zeros,
 * planes and rows outside are not there. */
typedef struct {
    int64_t first[3]; /* of the source: plane, row, column, which may lie outside */
    int64_t size[3];
    int64_t vectors; /* of channels */
    REAL *values;
} NAMED(grouped_panel_t);

/* The first filter of a block, and the first channel of the source that is loaded for it. */
static int64_t NAMED(grouped_filter)(const correlation_t *c, int64_t block) {
    return min64(block * LANES, c->groups * c->filters - LANES);
}
static int64_t NAMED(grouped_channel)(const correlation_t *c, int64_t filter) {
    const int64_t channel = filter / c->filters * c->channels;
    return c->filters % LANES == 0 ? channel : min64(channel, c->groups * c->channels - LANES);
}

/* The panel for rows [h, h + rows) of pixels of plane `d`, without its values. */
static NAMED(grouped_panel_t) NAMED(grouped_panel)(const correlation_t *c, const grouped_reach_t *reach, int64_t d,
                                                   int64_t h, int64_t rows, REAL *values) {
    NAMED(grouped_panel_t) panel = {.vectors = grouped_vectors(c, LANES), .values = values};
    const int64_t first[2] = {d, h}, last[2] = {d, h + rows - 1};
    for (int axis = 0; axis < 2; axis++) {
        const int64_t begin = max64(first[axis] * c->step[axis] + reach->low[axis], 0);
        const int64_t end = min64(last[axis] * c->step[axis] + reach->high[axis], c->source_size[axis]);
        panel.first[axis] = begin;
        panel.size[axis] = max64(end - begin, 0);
    }
    panel.first[2] = reach->low[2];
    panel.size[2] = grouped_columns(c, reach);
    return panel;
}

/* Vector v of row `row` of plane `d` of the source, which are in the panel. */
static inline REAL *NAMED(grouped_line)(const NAMED(grouped_panel_t) *panel, int64_t d, int64_t row, int64_t v) {
    const int64_t plane = (d - panel->first[0]) * panel->vectors + v;
    return panel->values + (plane * panel->size[1] + row - panel->first[1]) * panel->size[2] * LANES;
}

/* `count` pixels of up to a vector of channels. `whole`: a vector may be read. What the next block will read is asked
 * for, `ahead` further: pixels are far apart in memory, and no prefetcher finds them. */
static void NAMED(copy_vectors)(REAL *to, const REAL *from, int64_t pixel_stride, int64_t channel_stride,
                                int64_t channels, int whole, int64_t ahead, int64_t count) {
    for (int64_t i = 0; i < count; i++, to += LANES, from += pixel_stride)
        if (whole) {
            __builtin_prefetch(from + ahead + LANES - 1, 0, 2);
            NAMED(store)(to, NAMED(load)(from));
        } else {
            NAMED(copy_line)(to, from, channel_stride, min64(channels, LANES));
        }
}

/* The values of a panel of image n for a block. */
static void NAMED(fill_grouped_panel)(const correlation_t *c, const NAMED(grouped_panel_t) *panel, int64_t n,
                                      int64_t block) {
    const int64_t channel = NAMED(grouped_channel)(c, NAMED(grouped_filter)(c, block));
    const int64_t ahead = NAMED(grouped_channel)(c, NAMED(grouped_filter)(c, block + 1)) - channel;
    const int64_t channels = c->filters % LANES == 0 ? c->channels : LANES;
    int64_t begin, end;
    NAMED(clip)(panel->first[2], 1, panel->size[2], c->source_size[2], &begin, &end);
    for (int64_t d = panel->first[0]; d < panel->first[0] + panel->size[0]; d++)
        for (int64_t v = 0; v < panel->vectors; v++) {
            const int64_t first = channel + v * LANES;
            const int whole = c->source_stride[1] == 1 && first + LANES <= c->groups * c->channels;
            const REAL *from = (const REAL *)c->source + n * c->source_stride[0] + first * c->source_stride[1] +
                               d * c->source_stride[2] + (panel->first[2] + begin) * c->source_stride[4];
            for (int64_t row = panel->first[1]; row < panel->first[1] + panel->size[1]; row++) {
                REAL *to = NAMED(grouped_line)(panel, d, row, v);
                NAMED(zero_line)(to, begin * LANES);
                NAMED(copy_vectors)(to + begin * LANES, from + row * c->source_stride[3], c->source_stride[4],
                                    c->source_stride[1], channels - v * LANES, whole, ahead, end - begin);
                NAMED(zero_line)(to + end * LANES, (panel->size[2] - end) * LANES);
            }
        }
}
