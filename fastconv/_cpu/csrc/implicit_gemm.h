/* Convolution as a matrix product whose pixel operand is never built. A band of the source, small enough for L2, holds
 * every element once (band.h); an element of the product is found by the sum of two offsets, one of its pixel and one
 * of its entry, a pair (channel, tap) numbered channel * taps + tap.
 *
 * forward and backward_input, with the entries as the reduction:
 *
 *     result[f, p] = sum over q of weight[f, q] * source[q, p]
 *
 *   channels first: rows = filters, columns = pixels, so that vectors are stored along the width; a column panel is
 *                   packed from the band into L1 and multiplied by all packed weights;
 *   channels last:  rows = pixels, columns = filters, so that vectors are stored along the channels; the band is
 *                   broadcast from where it lies.
 *
 * Where no tap leaves the source, as in 1x1 convolutions, the source is its own band.
 *
 * backward_weight, with the pixels p of all images as the reduction and the output gradient packed into column panels:
 *
 *     weight[q, f] = sum over p of source[q, p] * gradient[p, f]
 *
 * Blocking: an item owns a block of pixels (of entries) and walks the entries (the pixels) block by block. Numerics:
 * every block is summed from zero and blocks are added in order, so the bits depend on the reduction's blocks alone,
 * never on threads or on the other blocks. */

/* Where element (i, j) of a product goes: rows and columns lie at constant strides or at the offsets of a table. */
typedef struct {
    REAL *base;
    const int64_t *row_offset; /* NULL: row_stride */
    const int64_t *column_offset;
    int64_t row_stride;
    int64_t column_stride;
    int between;                /* elements between neighbouring columns are this call's, too */
    const epilogue_t *epilogue; /* NULL: none */
    const REAL *bias;           /* of row 0 or column 0 */
    int bias_by_row;
    const REAL *add;
    const int64_t *add_row_offset;
    const int64_t *add_column_offset;
    int64_t add_row_stride;
    int64_t add_column_stride;
} NAMED(target_t);

/* The rows of a product: packed panels, one behind the other, or elements of a band. */
typedef struct {
    const REAL *base;
    int64_t count;      /* rows in all panels */
    int64_t width;      /* of every panel but the last */
    const int64_t *row; /* NULL: packed; else offsets in the band */
    const int64_t *entry;
} NAMED(row_operand_t);

static inline int64_t NAMED(at)(const int64_t *offset, int64_t stride, int64_t i) {
    return offset != NULL ? offset[i] : i * stride;
}

/* Rows of neighbours in memory, at the offsets of a table or at a constant stride. */
typedef struct {
    const REAL *base; /* NULL: none */
    const int64_t *offset;
    int64_t stride;
    int64_t count;
    int64_t length;
} NAMED(lines_t);

/* The columns of a product: one packed panel. Where `source` is set, row r of it lies at source + offset[r] and is
 * packed while the first rows of the product are computed. */
typedef struct {
    REAL *panel;
    const REAL *source;
    const int64_t *offset;
    NAMED(lines_t) ahead; /* what the next panel is packed from: it comes closer meanwhile */
} NAMED(column_operand_t);

/* Adds the epilogue to a tile in memory, rows `ld` apart. */
static void NAMED(finish_tile)(const NAMED(target_t) *t, REAL *tile, int64_t ld, int64_t row, int64_t rows,
                               int64_t column, int64_t columns) {
    REAL added[TILE_COLUMNS];
    for (int64_t i = 0; i < rows; i++) {
        const REAL *bias = t->bias == NULL ? NULL : t->bias + (t->bias_by_row ? row + i : column);
        if (t->add != NULL) {
            const REAL *add = t->add + NAMED(at)(t->add_row_offset, t->add_row_stride, row + i);
            for (int64_t j = 0; j < columns; j++)
                added[j] = add[NAMED(at)(t->add_column_offset, t->add_column_stride, column + j)];
        }
        NAMED(epilogue_run)(t->epilogue, tile + i * ld, 1, columns, bias, t->bias_by_row ? 0 : 1,
                            t->add == NULL ? NULL : added, 1);
    }
}

/* Whether entries [first, first + count) lie one `stride` after the other. */
static inline int NAMED(is_even)(const int64_t *offset, int64_t stride, int64_t first, int64_t count) {
    if (offset != NULL)
        for (int64_t i = first + 1; i < first + count; i++)
            if (offset[i] - offset[i - 1] != stride) return 0;
    return 1;
}

/* The multiply-adds of one register tile. */
static inline void NAMED(run_tile)(const NAMED(row_operand_t) *a, const NAMED(column_operand_t) *b, int64_t depth,
                                   int64_t row, int64_t rows, REAL *c, int64_t ldc, int accumulate) {
    if (a->row != NULL)
        NAMED(lookup_tiles)[rows](depth, a->base, a->row + row, a->entry, b->panel, c, ldc, accumulate);
    else if (b->source == NULL)
        NAMED(tiles)[rows](depth, a->base + row * depth, b->panel, c, ldc, accumulate);
    else
        NAMED(packing_tiles)[rows](depth, a->base + row * depth, b->source, b->offset, b->panel, c, ldc, accumulate);
}

/* The part of `lines` on its way into L2 that rows [begin, end) of `all` are multiplied meanwhile. */
static inline void NAMED(look_ahead)(const NAMED(lines_t) *lines, int64_t begin, int64_t end, int64_t all) {
    if (lines->base == NULL) return;
    for (int64_t i = lines->count * begin / all; i < lines->count * end / all; i++) {
        const REAL *line = lines->base + NAMED(at)(lines->offset, lines->stride, i);
        for (int64_t j = 0; j < lines->length; j += 64 / REAL_BYTES) __builtin_prefetch(line + j, 0, 2);
        __builtin_prefetch(line + lines->length - 1, 0, 2);
    }
}

/* Columns of a panel that lie at a constant stride. */
typedef struct {
    int64_t first; /* column of the panel */
    int64_t count;
    int64_t offset; /* of the first, in a row of the target */
    int64_t stride;
} NAMED(column_run_t);

static int64_t NAMED(column_runs)(const NAMED(target_t) *t, int64_t column, int64_t columns, NAMED(column_run_t) *run) {
    int64_t runs = 0;
    for (int64_t i = 0, end; i < columns; i = end) {
        const int64_t offset = NAMED(at)(t->column_offset, t->column_stride, column + i);
        int64_t stride = 1;
        for (end = i + 1; end < columns; end++) {
            const int64_t step = NAMED(at)(t->column_offset, t->column_stride, column + end) -
                                 NAMED(at)(t->column_offset, t->column_stride, column + end - 1);
            if (end == i + 1) stride = step;
            if (step != stride) break;
        }
        run[runs++] = (NAMED(column_run_t)){i, end - i, offset, stride};
    }
    return runs;
}

/* One register tile by way of a buffer. Rows lie `spacing` apart, or where the table says if `rows_even` is not set. */
static void NAMED(buffer_tile)(const NAMED(target_t) *t, const NAMED(row_operand_t) *a,
                               const NAMED(column_operand_t) *b, int64_t depth, int64_t row, int64_t rows,
                               int64_t spacing, int rows_even, int64_t column, int64_t columns,
                               const NAMED(column_run_t) *run, int64_t runs, int accumulate, int finish) {
    REAL tile[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
    REAL before[TILE_ROWS * TILE_COLUMNS] __attribute__((aligned(64)));
    const int64_t together = rows_even ? rows : 1;
    NAMED(run_tile)(a, b, depth, row, rows, tile, TILE_COLUMNS, 0);
    if (accumulate) {
        for (int64_t i = 0; i < rows; i += together)
            for (int64_t k = 0; k < runs; k++)
                NAMED(copy_rows)(before + i * TILE_COLUMNS + run[k].first, TILE_COLUMNS,
                                 t->base + NAMED(at)(t->row_offset, t->row_stride, row + i) + run[k].offset, spacing,
                                 run[k].stride, run[k].count, together);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++) tile[i * TILE_COLUMNS + j] += before[i * TILE_COLUMNS + j];
    }
    if (finish) NAMED(finish_tile)(t, tile, TILE_COLUMNS, row, rows, column, columns);
    for (int64_t i = 0; i < rows; i += together)
        for (int64_t k = 0; k < runs; k++)
            NAMED(spread_rows)(t->base + NAMED(at)(t->row_offset, t->row_stride, row + i) + run[k].offset, spacing,
                               run[k].stride, t->between, tile + i * TILE_COLUMNS + run[k].first, TILE_COLUMNS,
                               run[k].count, together);
}

/* Rows [begin, end) of target (+)= a * b for one column panel, tile by tile: straight into the target where a tile lies
 * in rows of neighbours. */
static void NAMED(multiply_panel)(const NAMED(target_t) *t, const NAMED(row_operand_t) *a, NAMED(column_operand_t) b,
                                  int64_t depth, int64_t begin, int64_t end, int64_t column, int64_t columns,
                                  int accumulate, int last) {
    NAMED(column_run_t) run[TILE_COLUMNS];
    const int64_t runs = NAMED(column_runs)(t, column, columns, run);
    const int columns_even = runs == 1 && columns == TILE_COLUMNS && run[0].stride == 1;
    const int finish = last && t->epilogue != NULL;
    for (int64_t row = begin; row < end; row += a->width, b.source = NULL) {
        const int64_t rows = min64(a->width, a->count - row);
        const int64_t spacing = t->row_offset == NULL ? t->row_stride
                                : rows > 1            ? t->row_offset[row + 1] - t->row_offset[row]
                                                      : 0;
        const int rows_even = NAMED(is_even)(t->row_offset, spacing, row, rows);
        NAMED(look_ahead)(&b.ahead, row - begin, row - begin + rows, end - begin);
        if (!rows_even || !columns_even) {
            NAMED(buffer_tile)(t, a, &b, depth, row, rows, spacing, rows_even, column, columns, run, runs, accumulate,
                               finish);
            continue;
        }
        REAL *target = t->base + NAMED(at)(t->row_offset, t->row_stride, row) + run[0].offset;
        NAMED(run_tile)(a, &b, depth, row, rows, target, spacing, accumulate);
        if (finish) NAMED(finish_tile)(t, target, spacing, row, rows, column, columns);
    }
}

/* Entries [begin, end) of the panel of weights from filter `first` on: [entry][panel width], a column panel padded with
 * zeros. */
static void NAMED(pack_weights)(const gemm_job_t *job, int64_t group, int64_t first, int64_t begin, int64_t end,
                                REAL *panel) {
    const correlation_t *c = &job->correlation;
    const int64_t width = job->pixels_are_columns ? panel_height(c->filters, TILE_ROWS) : TILE_COLUMNS;
    const int64_t count = min64(width, c->filters - first), height = job->pixels_are_columns ? count : width;
    const int64_t taps = tap_count(c), *stride = c->weight_stride;
    const REAL *weight = (const REAL *)c->weight + group * c->weight_group_stride + first * stride[0];
    const int is_whole = first + round_up(height, LANES) <= c->filters, is_dense = taps_are_dense(c);
    const int are_lines = is_whole && is_dense && taps >= LANES;
    if (begin >= end) return;
    if (is_whole && is_dense && stride[1] == taps) {
        NAMED(pack_transposed)(weight + begin, stride[0], height, end - begin, panel);
        return;
    }
    int64_t tap[3], rest = begin % taps;
    for (int axis = 2; axis >= 0; axis--) {
        tap[axis] = rest % c->taps[axis];
        rest /= c->taps[axis];
    }
    weight += begin / taps * stride[1];
    for (int64_t entry = begin; entry < end; entry++, panel += height) {
        if (are_lines && entry % taps == 0 && entry + taps <= end) {
            NAMED(pack_transposed)(weight, stride[0], height, taps, panel);
            panel += (taps - 1) * height;
            entry += taps - 1;
            weight += stride[1];
            continue;
        }
        const REAL *source = weight + tap[0] * stride[2] + tap[1] * stride[3] + tap[2] * stride[4];
        NAMED(copy_line)(panel, source, stride[0], count);
        for (int64_t i = count; i < height; i++) panel[i] = 0;
        if (++tap[2] < c->taps[2]) continue;
        tap[2] = 0;
        if (++tap[1] < c->taps[1]) continue;
        tap[1] = 0;
        if (++tap[0] < c->taps[0]) continue;
        tap[0] = 0;
        weight += stride[1];
    }
}

/* The weights of a product of matrices that a column panel of `depth` entries is packed from. */
static NAMED(lines_t)
    NAMED(weight_lines)(const correlation_t *c, int64_t group, int64_t first, int64_t entry, int64_t depth) {
    const int64_t *stride = c->weight_stride, filters = min64(TILE_COLUMNS, c->filters - first);
    const REAL *base = (const REAL *)c->weight + group * c->weight_group_stride + first * stride[0] + entry * stride[1];
    if (tap_count(c) == 1 && stride[1] == 1) return (NAMED(lines_t)){base, NULL, stride[0], filters, depth};
    if (tap_count(c) == 1 && stride[0] == 1) return (NAMED(lines_t)){base, NULL, stride[1], depth, filters};
    return (NAMED(lines_t)){0};
}

/* One panel of packed weights, block by block. */
static void NAMED(gemm_pack_weight)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t width = job->pixels_are_columns ? panel_height(c->filters, TILE_ROWS) : TILE_COLUMNS;
    const int64_t panels = div_up(c->filters, width), group = item / panels, first = item % panels * width;
    const int64_t entries = entry_count(c), entry_width = packed_entry_width(job, TILE_COLUMNS);
    REAL *packed = (REAL *)job->packed + group * entries * entry_width;
    (void)scratch;
    for (int64_t begin = 0; begin < entries; begin += job->block_entries) {
        const int64_t depth = min64(job->block_entries, entries - begin);
        NAMED(pack_weights)(job, group, first, begin, begin + depth, packed + begin * entry_width + first * depth);
    }
}

/* The parts of a thread's scratch. */
typedef struct {
    REAL *band;
    REAL *panels;
    int64_t *entry; /* offsets in the band */
    int64_t *pixel;
    int64_t *result; /* offsets of pixels in the result and in what is added to it */
    int64_t *added;
    REAL *sums;
} NAMED(scratch_t);

static NAMED(scratch_t) NAMED(split_scratch)(const gemm_job_t *job, void *scratch) {
    const gemm_scratch_t s = gemm_scratch(job, TILE_COLUMNS, LANES, REAL_BYTES);
    char *first = (char *)scratch;
    return (NAMED(scratch_t)){
        .band = (REAL *)(first + s.band),
        .panels = (REAL *)(first + s.panels),
        .entry = (int64_t *)(first + s.entries),
        .pixel = (int64_t *)(first + s.pixels),
        .result = (int64_t *)(first + s.results),
        .added = (int64_t *)(first + s.added),
        .sums = (REAL *)(first + s.sums),
    };
}

/* The band of entries [first, first + count) and of the pixels of `box`, with the offsets of the entries; *base is
 * where it begins. */
static band_t NAMED(gather)(const gemm_job_t *job, int64_t group, const pixel_box_t *box, int64_t first, int64_t count,
                            const NAMED(scratch_t) *parts, const REAL **base) {
    const correlation_t *c = &job->correlation;
    *base = parts->band;
    if (count == 0) return (band_t){.box = *box};
    const int64_t taps = tap_count(c), channel = first / taps, channels = (first + count - 1) / taps - channel + 1;
    band_t band;
    if (job->in_place) {
        int64_t begin;
        band = own_band(c, box, group * c->channels + channel, &begin);
        *base = (const REAL *)c->source + begin;
    } else {
        band = band_of(c, box, channels, job->is_interleaved);
        NAMED(fill_band)(c, &band, group * c->channels + channel, channels, parts->band);
    }
    entry_offsets(c, &band, first, count, parts->entry);
    return band;
}

/* Whether a panel's columns are all there and neighbours in the band. */
static inline int NAMED(is_run)(const int64_t *pixel, int64_t columns) {
    int64_t run = 1;
    while (run < columns && pixel[run] == *pixel + run) run++;
    return run == TILE_COLUMNS;
}

/* What vectors of pixels may be loaded from: the whole source in place of a band, else anywhere near the band. */
static NAMED(room_t) NAMED(room_of)(const gemm_job_t *job) {
    const correlation_t *c = &job->correlation;
    if (!job->in_place) return (NAMED(room_t)){0, UINTPTR_MAX};
    const int64_t size[5] = {c->batch, c->groups * c->channels, c->source_size[0], c->source_size[1],
                             c->source_size[2]};
    const REAL *low = (const REAL *)c->source, *high = low + 1;
    for (int axis = 0; axis < 5; axis++) {
        const int64_t extent = (size[axis] - 1) * c->source_stride[axis];
        low += min64(extent, 0);
        high += max64(extent, 0);
    }
    return (NAMED(room_t)){(uintptr_t)low, (uintptr_t)high};
}

/* Pixels from number `pixel` on that lie `result_stride[4]` apart, at most `most`; *offset is that of the first. */
static int64_t NAMED(result_run)(const correlation_t *c, int64_t pixel, int64_t most, int64_t *offset) {
    const int64_t *stride = c->result_stride;
    int64_t n, position[3], length = c->pixels[2];
    NAMED(split_pixel)(c, pixel, &n, position);
    *offset = n * stride[0] + position[0] * stride[2] + position[1] * stride[3] + position[2] * stride[4];
    if (stride[3] == length * stride[4]) {
        length *= c->pixels[1];
        if (stride[2] == length * stride[4]) length *= c->pixels[0];
    }
    return min64(most, length - pixel % length);
}

/* A column panel of sums [pixel][TILE_COLUMNS], of which `filters` are wanted, to `result`, its filters' first pixels.
 * Up to LANES rows behind the sums are read. */
static void NAMED(store_turned)(const gemm_job_t *job, const REAL *sums, int64_t pixel, int64_t pixels, int64_t filters,
                                REAL *result) {
    const correlation_t *c = &job->correlation;
    for (int64_t done = 0, run; done < pixels; done += run) {
        int64_t offset;
        run = NAMED(result_run)(c, pixel + done, pixels - done, &offset);
        const int64_t count = min64(run, LANES), step = c->result_stride[4];
        for (int64_t at = 0; at < run; at += LANES) {
            const int64_t first = min64(at, run - count); /* the last vector overlaps the one before */
            for (int64_t filter = 0; filter < filters; filter += LANES) {
                NAMED(vector) square[LANES];
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++)
                    square[i] = NAMED(load)(sums + (done + first + i) * TILE_COLUMNS + filter);
                NAMED(transpose)(square);
                NAMED(spread_rows)(result + filter * c->result_stride[1] + offset + first * step, c->result_stride[1],
                                   step, job->owns_between, (const REAL *)square, LANES, count,
                                   min64(LANES, filters - filter));
            }
        }
    }
}

/* Bytes of packed weights that stay in L2 beside the band while the column panels pass. */
#define WEIGHT_BYTES 262144

/* forward and one phase of backward_input: one block of pixels and filters of one group. */
static void NAMED(gemm_correlate)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const epilogue_t *e = &job->epilogue;
    const int64_t group = item % c->groups, entries = entry_count(c), filter = group * c->filters;
    const int64_t parts_of_filters = div_up(c->filters, job->block_filters), block = item / c->groups;
    const int64_t filter_begin = block % parts_of_filters * job->block_filters;
    const int64_t filter_end = min64(filter_begin + job->block_filters, c->filters);
    int64_t pixels;
    const int64_t pixel = pixel_block(c, job->block_pixels, block / parts_of_filters, &pixels);
    const int by_columns = job->pixels_are_columns;
    const NAMED(scratch_t) parts = NAMED(split_scratch)(job, scratch);
    const pixel_box_t box = pixel_box(c, pixel, pixels);
    const NAMED(room_t) room = NAMED(room_of)(job);

    NAMED(result_offsets)(c, c->result_stride, pixel, pixels, parts.result);
    if (e->add != NULL) NAMED(result_offsets)(c, e->add_stride, pixel, pixels, parts.added);
    const NAMED(target_t) target = {
        .base = (REAL *)c->result + filter * c->result_stride[1],
        .row_offset = by_columns ? NULL : parts.result,
        .column_offset = by_columns ? parts.result : NULL,
        .row_stride = c->result_stride[1],
        .column_stride = c->result_stride[1],
        .between = by_columns && job->owns_between,
        .epilogue = NAMED(epilogue_is_empty)(e) ? NULL : e,
        .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter,
        .bias_by_row = by_columns,
        .add = e->add == NULL ? NULL : (const REAL *)e->add + filter * e->add_stride[1],
        .add_row_offset = by_columns ? NULL : parts.added,
        .add_column_offset = by_columns ? parts.added : NULL,
        .add_row_stride = e->add_stride[1],
        .add_column_stride = e->add_stride[1],
    };
    const int64_t entry_width = packed_entry_width(job, TILE_COLUMNS);
    const REAL *packed = (const REAL *)job->packed + group * entries * entry_width;
    int64_t first = 0;
    do { /* once even when the reduction is empty: the result is then the epilogue of 0 */
        const int64_t depth = min64(job->block_entries, entries - first);
        const int last = first + depth >= entries, accumulate = first > 0;
        const REAL *base;
        const band_t band = NAMED(gather)(job, group, &box, first, depth, &parts, &base);
        const REAL *weights = packed + first * entry_width;
        pixel_offsets(c, &band, pixel, pixels, parts.pixel);
        if (by_columns) {
            const int64_t width = panel_height(c->filters, TILE_ROWS);
            const NAMED(row_operand_t) rows = {weights, c->filters, width, NULL, NULL};
            const int64_t panels = max64(WEIGHT_BYTES / REAL_BYTES / (max64(depth, 1) * width), 1);
            const int64_t groups = div_up(filter_end - filter_begin, panels * width);
            const int64_t most = round_up(div_up(filter_end - filter_begin, max64(groups, 1)), width);
            for (int64_t begin = filter_begin; begin < filter_end; begin += most)
                for (int64_t column = 0; column < pixels; column += TILE_COLUMNS) {
                    const int64_t columns = min64(TILE_COLUMNS, pixels - column);
                    const int64_t *pixel_offset = parts.pixel + column;
                    NAMED(column_operand_t) panel = {.panel = parts.panels, .offset = parts.entry};
                    if (column + TILE_COLUMNS < pixels)
                        panel.ahead =
                            (NAMED(lines_t)){base + pixel_offset[TILE_COLUMNS], parts.entry, 0, depth, TILE_COLUMNS};
                    if (NAMED(is_run)(pixel_offset, columns))
                        panel.source = base + *pixel_offset;
                    else
                        NAMED(pack_columns)(base, pixel_offset, columns, parts.entry, depth, room, parts.panels);
                    NAMED(multiply_panel)(&target, &rows, panel, depth, begin, min64(begin + most, filter_end), column,
                                          columns, accumulate, last);
                }
        } else {
            const NAMED(row_operand_t) rows = {base, pixels, panel_height(pixels, TILE_ROWS), parts.pixel, parts.entry};
            for (int64_t column = filter_begin; column < filter_end; column += TILE_COLUMNS) {
                const int64_t columns = min64(TILE_COLUMNS, c->filters - column);
                NAMED(column_operand_t) panel = {.panel = (REAL *)weights + column * depth};
                if (job->packed == NULL) {
                    NAMED(pack_weights)(job, group, column, first, first + depth, parts.panels);
                    panel.panel = parts.panels;
                    if (column + TILE_COLUMNS < filter_end)
                        panel.ahead = NAMED(weight_lines)(c, group, column + TILE_COLUMNS, first, depth);
                    else if (!last)
                        panel.ahead = NAMED(weight_lines)(c, group, filter_begin, first + depth,
                                                          min64(depth, entries - first - depth));
                }
                if (!gemm_is_turned(job)) {
                    NAMED(multiply_panel)(&target, &rows, panel, depth, 0, pixels, column, columns, accumulate, last);
                    continue;
                }
                REAL *sums = parts.sums + (entries > job->block_entries ? (column - filter_begin) * pixels : 0);
                const NAMED(target_t) aside = {.base = sums, .row_stride = TILE_COLUMNS, .column_stride = 1};
                NAMED(multiply_panel)(&aside, &rows, panel, depth, 0, pixels, 0, TILE_COLUMNS, accumulate, last);
                if (!last) continue;
                if (target.epilogue != NULL)
                    NAMED(finish_tile)(&target, sums, TILE_COLUMNS, 0, pixels, column, columns);
                NAMED(store_turned)(job, sums, pixel, pixels, columns, target.base + column * target.column_stride);
            }
        }
        first += job->block_entries;
    } while (first < entries);
}
#undef WEIGHT_BYTES

/* The output gradient of one block of pixels: column panels [pixel][TILE_COLUMNS], the last filled up with zeros. */
static void NAMED(pack_gradient)(const correlation_t *c, int64_t group, int64_t pixel, int64_t pixels, REAL *panels) {
    const REAL *gradient = (const REAL *)c->result + group * c->filters * c->result_stride[1];
    const int64_t filter_step = c->result_stride[1], pixel_step = c->result_stride[4];
    for (int64_t done = 0, run; done < pixels; done += run) {
        int64_t offset;
        run = NAMED(result_run)(c, pixel + done, pixels - done, &offset);
        for (int64_t filter = 0; filter < c->filters; filter += TILE_COLUMNS) {
            const REAL *source = gradient + offset + filter * filter_step;
            const int64_t count = min64(TILE_COLUMNS, c->filters - filter);
            REAL *panel = panels + filter * pixels + done * TILE_COLUMNS;
            if (pixel_step == 1 && count == TILE_COLUMNS) {
                NAMED(pack_transposed)(source, filter_step, TILE_COLUMNS, run, panel);
                continue;
            }
            for (int64_t r = 0; r < run; r++, panel += TILE_COLUMNS, source += pixel_step) {
                NAMED(copy_line)(panel, source, filter_step, count);
                NAMED(zero_line)(panel + count, TILE_COLUMNS - count);
            }
        }
    }
}

/* backward_weight: one block of entries of one group over one pass of one split of the pixels. */
static void NAMED(gemm_weight_gradient)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t entries = entry_count(c), width = round_up(c->filters, TILE_COLUMNS);
    const int64_t per_split = div_up(entries, job->block_entries), group = item / per_split % c->groups;
    const int64_t split = item / per_split / c->groups, first = item % per_split * job->block_entries;
    const int64_t count = min64(job->block_entries, entries - first);
    const int64_t blocks = pixel_block_count(c, job->block_pixels), part = gemm_split_blocks(job);
    const int64_t begin = min64(split * part, blocks), end = min64(begin + part, blocks);
    const int64_t pass = begin + job->pass_first, stop = min64(pass + job->pass_blocks, end);
    const NAMED(scratch_t) parts = NAMED(split_scratch)(job, scratch);
    REAL *sums = (REAL *)job->partial + ((split * c->groups + group) * entries + first) * width;
    const NAMED(target_t) target = {.base = sums, .row_stride = width, .column_stride = 1};

    if (begin == end && job->pass_first == 0) NAMED(zero_line)(sums, count * width);
    for (int64_t block = pass; block < stop; block++) {
        int64_t pixels;
        const int64_t pixel = pixel_block(c, job->block_pixels, block, &pixels);
        const pixel_box_t box = pixel_box(c, pixel, pixels);
        const REAL *base;
        const band_t band = NAMED(gather)(job, group, &box, first, count, &parts, &base);
        pixel_offsets(c, &band, pixel, pixels, parts.pixel);
        NAMED(pack_gradient)(c, group, pixel, pixels, parts.panels);
        const NAMED(row_operand_t) rows = {base, count, panel_height(count, TILE_ROWS), parts.entry, parts.pixel};
        for (int64_t column = 0; column < width; column += TILE_COLUMNS)
            NAMED(multiply_panel)(&target, &rows, (NAMED(column_operand_t)){.panel = parts.panels + column * pixels},
                                  pixels, 0, count, column, TILE_COLUMNS, block > begin, 0);
    }
}

/* Where the weight of an entry lies. */
static inline int64_t NAMED(entry_offset)(const correlation_t *c, int64_t entry) {
    const int64_t taps = tap_count(c), tap = entry % taps, *stride = c->weight_stride;
    return entry / taps * stride[1] + tap / (c->taps[1] * c->taps[2]) * stride[2] +
           tap / c->taps[2] % c->taps[1] * stride[3] + tap % c->taps[2] * stride[4];
}

/* Adds the splits in order and stores the gradients of `filters` neighbours in memory. */
static void NAMED(store_filters)(const gemm_job_t *job, const REAL *sums, int64_t width, int64_t filters,
                                 REAL *weight) {
    const correlation_t *c = &job->correlation;
    const int64_t entries = entry_count(c);
    for (int64_t entry = 0; entry < entries; entry++, sums += width) {
        NAMED(vector) sum[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) {
            sum[v] = NAMED(load)(sums + v * LANES);
            for (int64_t split = 1; split < job->splits; split++)
                sum[v] += NAMED(load)(sums + v * LANES + split * c->groups * entries * width);
        }
        NAMED(copy_line)(weight + NAMED(entry_offset)(c, entry), (const REAL *)sum, 1, filters);
    }
}

/* Adds the splits in order and stores the gradients of one panel of filters at the weight's own strides. */
static void NAMED(gemm_weight_reduce)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t panels = div_up(c->filters, TILE_COLUMNS), group = item / panels,
                  filter = item % panels * TILE_COLUMNS;
    const int64_t entries = entry_count(c), taps = tap_count(c), width = panels * TILE_COLUMNS,
                  *stride = c->weight_stride;
    const REAL *sums = (const REAL *)job->partial + group * entries * width + filter;
    REAL *weight = (REAL *)c->weight + group * c->weight_group_stride + filter * stride[0];
    const int is_line = taps_are_dense(c) && stride[1] == taps;
    (void)scratch;
    if (stride[0] == 1) {
        NAMED(store_filters)(job, sums, width, min64(TILE_COLUMNS, c->filters - filter), weight);
        return;
    }
    for (int64_t first = 0; first < entries; first += LANES)
        for (int v = 0; v < TILE_VECTORS && filter + v * LANES < c->filters; v++) {
            const int64_t count = min64(LANES, entries - first),
                          filters = min64(LANES, c->filters - filter - v * LANES);
            NAMED(vector) square[LANES];
            for (int64_t i = 0; i < LANES; i++) {
                const REAL *source = sums + (first + min64(i, count - 1)) * width + v * LANES;
                square[i] = *(const NAMED(unaligned) *)source;
                for (int64_t split = 1; split < job->splits; split++)
                    square[i] += *(const NAMED(unaligned) *)(source + split * c->groups * entries * width);
            }
            NAMED(transpose)(square);
            for (int64_t i = 0; i < filters; i++) {
                REAL *line = weight + (v * LANES + i) * stride[0];
                if (is_line && count == LANES) {
                    *(NAMED(unaligned) *)(line + first) = square[i];
                    continue;
                }
                for (int64_t j = 0; j < count; j++) line[NAMED(entry_offset)(c, first + j)] = square[i][j];
            }
        }
}
