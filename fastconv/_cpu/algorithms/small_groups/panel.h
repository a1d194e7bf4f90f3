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
} NAMED(small_groups_panel_t);

/* The first filter of a block, and the first channel of the source that is loaded for it. */
static int64_t NAMED(small_groups_filter)(const correlation_t *c, int64_t block) {
    return min64(block * LANES, c->groups * c->filters - LANES);
}
static int64_t NAMED(small_groups_channel)(const correlation_t *c, int64_t filter) {
    const int64_t channel = filter / c->filters * c->channels;
    return c->filters % LANES == 0 ? channel : min64(channel, c->groups * c->channels - LANES);
}

/* Rows [h, h + rows) of plane d of image n, and of those the pixels [w, w + columns). */
typedef struct {
    int64_t n;
    int64_t d;
    int64_t h;
    int64_t w;
    int64_t rows;
    int64_t columns;
} NAMED(small_groups_band_t);

/* The panel for a band, without its values. */
static NAMED(small_groups_panel_t) NAMED(small_groups_panel)(const correlation_t *c, const small_groups_reach_t *reach,
                                                             const NAMED(small_groups_band_t) *band, REAL *values) {
    NAMED(small_groups_panel_t) panel = {.vectors = small_groups_vectors(c, LANES), .values = values};
    const int64_t first[2] = {band->d, band->h}, last[2] = {band->d, band->h + band->rows - 1};
    for (int axis = 0; axis < 2; axis++) {
        const int64_t begin = max64(first[axis] * c->step[axis] + reach->low[axis], 0);
        const int64_t end = min64(last[axis] * c->step[axis] + reach->high[axis], c->source_size[axis]);
        panel.first[axis] = begin;
        panel.size[axis] = max64(end - begin, 0);
    }
    panel.first[2] = band->w * c->step[2] + reach->low[2];
    panel.size[2] = small_groups_extent(c, reach, 2, band->columns);
    return panel;
}

/* Vector v of row `row` of plane `d` of the source, which are in the panel. */
static inline REAL *NAMED(small_groups_line)(const NAMED(small_groups_panel_t) *panel, int64_t d, int64_t row,
                                             int64_t v) {
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

/* Whether pixels are neighbours in memory, and channels are not. */
static inline int NAMED(needs_transpose)(const int64_t *stride) { return stride[1] != 1 && stride[4] == 1; }

/* The other way round: `rows` rows of `width` pixels of a vector of channels to [row][pixel][lane], `pitch` pixels a
 * row. Up to `room` pixels of every channel may be read from the first row on. */
static void NAMED(transpose_rows)(REAL *to, int64_t pitch, const REAL *from, const int64_t *stride, int64_t width,
                                  int64_t rows, int64_t room) {
    int64_t slot[4 * LANES];
    const int dense = stride[3] == width; /* rows follow each other */
    const int64_t lines = dense ? 1 : rows, count = dense ? rows * width : width;
    for (int64_t line = 0; line < lines; line++)
        for (int64_t first = 0, row = line, column = 0, some; first < count; first += some) {
            REAL *at = to + row * pitch * LANES;
            some = min64(4 * LANES, count - first);
            for (int64_t i = 0, begin = row; i < some; i++) {
                slot[i] = (row - begin) * pitch + column;
                if (++column == width) column = 0, row++;
            }
            NAMED(transpose_lines)(from + line * stride[3] + first, stride[1], LANES, some,
                                   dense ? room - first : width - first, slot, at);
        }
}

/* And back: `count` pixels [pixel][lane] to lines of channels. */
static void NAMED(transpose_back)(REAL *to, int64_t channel_stride, const REAL *from, int64_t count) {
    for (int64_t first = 0; first < count; first += LANES) {
        const int64_t begin = min64(first, count - LANES); /* rather early than to end late */
        NAMED(vector) square[LANES];
        if (begin < 0) {
            for (int64_t i = 0; i < count; i++)
                for (int l = 0; l < LANES; l++) to[l * channel_stride + i] = from[i * LANES + l];
            return;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) square[i] = NAMED(load)(from + (begin + i) * LANES);
        NAMED(transpose)(square);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) NAMED(store)(to + i * channel_stride + begin, square[i]);
    }
}

/* The values of a panel of image n for a block. */
static void NAMED(fill_grouped_panel)(const correlation_t *c, const NAMED(small_groups_panel_t) *panel, int64_t n,
                                      int64_t block) {
    const int64_t channel = NAMED(small_groups_channel)(c, NAMED(small_groups_filter)(c, block));
    const int64_t ahead = NAMED(small_groups_channel)(c, NAMED(small_groups_filter)(c, block + 1)) - channel;
    const int64_t channels = c->filters % LANES == 0 ? c->channels : LANES, width = c->source_size[2];
    const int64_t *stride = c->source_stride, *size = panel->size;
    int64_t begin, end;
    NAMED(clip)(panel->first[2], 1, size[2], width, &begin, &end);
    for (int64_t d = panel->first[0]; d < panel->first[0] + size[0] && size[1] > 0; d++)
        for (int64_t v = 0; v < panel->vectors; v++) {
            const int64_t first = channel + v * LANES, top = panel->first[1];
            const int whole = first + LANES <= c->groups * c->channels,
                      transposed = whole && NAMED(needs_transpose)(stride);
            const REAL *from = (const REAL *)c->source + n * stride[0] + first * stride[1] + d * stride[2] +
                               top * stride[3] + (panel->first[2] + begin) * stride[4];
            REAL *to = NAMED(small_groups_line)(panel, d, top, v);
            if (transposed)
                NAMED(transpose_rows)(to + begin * LANES, size[2], from, stride, end - begin, size[1],
                                      (c->source_size[1] - top) * width);
            for (int64_t row = 0; row < size[1]; row++, to += size[2] * LANES, from += stride[3]) {
                NAMED(zero_line)(to, begin * LANES);
                NAMED(zero_line)(to + end * LANES, (size[2] - end) * LANES);
                if (!transposed)
                    NAMED(copy_vectors)(to + begin * LANES, from, stride[4], stride[1], channels - v * LANES,
                                        whole && stride[1] == 1, ahead, end - begin);
            }
        }
}
