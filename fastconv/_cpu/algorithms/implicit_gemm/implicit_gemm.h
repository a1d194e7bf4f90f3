/* Convolution as a matrix product whose pixel operand is never built. A band of the source, small enough for L2, holds
 * every element once (band.h); an element of the product is found by the sum of two offsets, one of its pixel and one
 * of its entry, a pair (channel, tap) numbered channel * taps + tap.
 *
 * forward and backward_input, with the entries as the reduction:
 *
 *     result[f, p] = sum over q of weight[f, q] * source[q, p]
 *
 *   channels first: rows = filters, columns = pixels, so that vectors are stored along the width; a column panel is
 *                   packed from the band into L1 and multiplied by all packed weights; of few pixels, all panels of an
 *                   item are packed first, and the weights are read once, where they lie;
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
static void NAMED(pack_weight)(const void *data, int64_t item, void *scratch) {
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
    int64_t *filter; /* offsets in the weights */
    int64_t *weight;
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
        .filter = (int64_t *)(first + s.filters),
        .weight = (int64_t *)(first + s.weights),
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
    return job->in_place ? NAMED(source_room)(&job->correlation) : (NAMED(room_t)){0, UINTPTR_MAX};
}

/* Pixels from number `pixel` on that lie `stride[4]` apart, at most `most`, in an array of the result's shape; *offset
 * is that of the first. */
static int64_t NAMED(pixel_run)(const correlation_t *c, const int64_t *stride, int64_t pixel, int64_t most,
                                int64_t *offset) {
    int64_t n, position[3], length = c->pixels[2];
    NAMED(split_pixel)(c, pixel, &n, position);
    *offset = n * stride[0] + position[0] * stride[2] + position[1] * stride[3] + position[2] * stride[4];
    if (stride[3] == length * stride[4]) {
        length *= c->pixels[1];
        if (stride[2] == length * stride[4]) length *= c->pixels[0];
    }
    return min64(most, length - pixel % length);
}

static int64_t NAMED(result_run)(const correlation_t *c, int64_t pixel, int64_t most, int64_t *offset) {
    return NAMED(pixel_run)(c, c->result_stride, pixel, most, offset);
}

/* Where all pixels of an item lie evenly, NULL and the offset of the first; else a table of offsets, and 0. */
static const int64_t *NAMED(pixel_table)(const correlation_t *c, const int64_t *stride, int64_t pixel, int64_t pixels,
                                         int64_t *table, int64_t *first) {
    if (pixels > 0 && NAMED(pixel_run)(c, stride, pixel, pixels, first) == pixels) return NULL;
    NAMED(result_offsets)(c, stride, pixel, pixels, table);
    *first = 0;
    return table;
}

/* A column panel of sums [pixel][TILE_COLUMNS], of which `filters` are wanted, to `result`, its filters' first pixels.
 * Up to LANES rows behind the sums are read. */
static void NAMED(store_transposed)(const gemm_job_t *job, const REAL *sums, int64_t pixel, int64_t pixels,
                                    int64_t filters, REAL *result) {
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

/* What one item multiplies at a time: entries [first, first + depth) of its pixels and filters. */
typedef struct {
    const gemm_job_t *job;
    NAMED(scratch_t) parts;
    int64_t group;
    int64_t pixel;
    int64_t pixels;
    int64_t filter_begin;
    int64_t filter_end;
    int64_t first;
    int64_t depth;
    const REAL *base; /* the band */
    const REAL *line; /* the first pixel, where all of them are neighbours in the band; else NULL */
    int accumulate;
    int last;
} NAMED(block_t);

/* Vectors along pixels: a panel of them is packed for as many filters as stay in L2. */
static void NAMED(multiply_by_pixels)(const NAMED(block_t) *b, const NAMED(target_t) *target, const REAL *weights) {
    const correlation_t *c = &b->job->correlation;
    const NAMED(room_t) room = NAMED(room_of)(b->job);
    const int64_t width = panel_height(c->filters, TILE_ROWS), filters = b->filter_end - b->filter_begin;
    const NAMED(row_operand_t) rows = {weights, c->filters, width, NULL, NULL};
    const int64_t panels = max64(WEIGHT_BYTES / REAL_BYTES / (max64(b->depth, 1) * width), 1);
    const int64_t most = round_up(div_up(filters, max64(div_up(filters, panels * width), 1)), width);
    for (int64_t begin = b->filter_begin; begin < b->filter_end; begin += most)
        for (int64_t column = 0; column < b->pixels; column += TILE_COLUMNS) {
            const int64_t columns = min64(TILE_COLUMNS, b->pixels - column);
            int64_t *pixel = b->parts.pixel + (b->line == NULL ? column : 0);
            const int is_line = b->line != NULL && columns == TILE_COLUMNS;
            if (b->line != NULL && !is_line)
                for (int64_t i = 0; i < columns; i++) pixel[i] = b->line - b->base + column + i;
            NAMED(column_operand_t)
            panel = {.panel = b->parts.panels, .width = TILE_COLUMNS, .offset = b->parts.entry};
            if (b->job->in_place && column + TILE_COLUMNS < b->pixels)
                panel.ahead =
                    (NAMED(lines_t)){is_line ? b->line + column + TILE_COLUMNS : b->base + pixel[TILE_COLUMNS],
                                     b->parts.entry, 0, b->depth, TILE_COLUMNS};
            if (is_line || NAMED(is_run)(pixel, columns))
                panel.source = is_line ? b->line + column : b->base + *pixel;
            else
                NAMED(pack_columns)(b->base, pixel, columns, b->parts.entry, b->depth, room, TILE_COLUMNS,
                                    b->parts.panels);
            NAMED(multiply_panel)(target, &rows, panel, b->depth, begin, min64(begin + most, b->filter_end), column,
                                  columns, b->accumulate, b->last);
        }
}

/* Width of the panel of the next of `left` pixels: at the end one vector, and single pixels if weights are `lines`. */
static inline int64_t NAMED(next_width)(int64_t left, int lines) {
    const int64_t single = lines ? MAX_DOTS : 0;
    return left > LANES + single ? TILE_COLUMNS : left > single ? LANES : left;
}

/* Vectors along pixels: all panels of them are packed, then the weights pass, as they are. */
static void NAMED(multiply_by_weights)(const NAMED(block_t) *b, const NAMED(target_t) *target) {
    const gemm_job_t *job = b->job;
    const correlation_t *c = &job->correlation;
    const int64_t *stride = c->weight_stride, taps = max64(tap_count(c), 1);
    const NAMED(row_operand_t) rows = {
        .base = (const REAL *)c->weight + b->group * c->weight_group_stride + b->first / taps * stride[1],
        .count = c->filters,
        .width = gemm_filter_rows(job, TILE_ROWS),
        .row = b->parts.filter,
        .entry = b->parts.weight,
    };
    /* The offsets of weights are those of a band that has every tap once. */
    const band_axis_t axis = {.pitch = 1, .is_per_tap = 1};
    const band_t weights = {
        .axis = {axis, axis, axis}, .stride = {stride[2], stride[3], stride[4]}, .channel_stride = stride[1]};
    const int lines = stride[1] == taps && taps_are_dense(c);
    const int64_t most = round_up(max64(WEIGHT_BYTES / 4 / REAL_BYTES / max64(b->depth, 1), 1), rows.width);
    entry_offsets(c, &weights, b->first, b->depth, b->parts.weight);
    for (int64_t i = b->filter_begin; i < b->filter_end; i++) b->parts.filter[i] = i * stride[0];
    for (int64_t column = 0, width; column < b->pixels; column += width) {
        width = NAMED(next_width)(b->pixels - column, lines);
        NAMED(pack_columns)(b->base, b->parts.pixel + column, min64(width, b->pixels - column), b->parts.entry,
                            b->depth, NAMED(room_of)(job), width, b->parts.panels + column * b->depth);
    }
    for (int64_t begin = b->filter_begin; begin < b->filter_end; begin += most)
        for (int64_t column = 0, width; column < b->pixels; column += width) {
            width = NAMED(next_width)(b->pixels - column, lines);
            const NAMED(column_operand_t) panel = {.panel = b->parts.panels + column * b->depth, .width = width};
            NAMED(multiply_panel)(target, &rows, panel, b->depth, begin, min64(begin + most, b->filter_end), column,
                                  min64(width, b->pixels - column), b->accumulate, b->last);
        }
}
#undef WEIGHT_BYTES

/* The packed panel of filters from `column` on, which comes closer: of this block, of the item's next one, or the first
 * of the next item. */
static void NAMED(find_next_panel)(const NAMED(block_t) *b, const REAL *weights, int64_t column,
                                   NAMED(column_operand_t) *panel) {
    const correlation_t *c = &b->job->correlation;
    const int64_t entries = entry_count(c), entry_width = packed_entry_width(b->job, TILE_COLUMNS);
    int64_t first = b->first;
    if (column >= b->filter_end) {
        first = b->last ? 0 : first + b->depth;
        column = b->last ? b->filter_end : b->filter_begin;
        if (column >= c->filters) return;
    }
    const int64_t depth = min64(b->job->block_entries, entries - first);
    panel->next = weights + (first - b->first) * entry_width + column * depth;
    panel->next_size = depth * TILE_COLUMNS;
}

/* Vectors along filters: the band is looked up where it lies. `weights`: NULL: every panel is packed before its use. */
static void NAMED(multiply_by_filters)(const NAMED(block_t) *b, const NAMED(target_t) *target, const REAL *weights) {
    const correlation_t *c = &b->job->correlation;
    const int64_t entries = entry_count(c), depth = b->depth, next = b->first + depth;
    const NAMED(row_operand_t) rows = {b->base, b->pixels, panel_height(b->pixels, TILE_ROWS), b->parts.pixel,
                                       b->parts.entry};
    for (int64_t column = b->filter_begin; column < b->filter_end; column += TILE_COLUMNS) {
        const int64_t columns = min64(TILE_COLUMNS, c->filters - column);
        NAMED(column_operand_t) panel = {.panel = b->parts.panels, .width = TILE_COLUMNS};
        panel.asks_for_rows = b->job->in_place && b->job->is_interleaved && column == b->filter_begin;
        if (weights != NULL) {
            panel.panel = (REAL *)weights + column * depth;
            NAMED(find_next_panel)(b, weights, column + TILE_COLUMNS, &panel);
        } else {
            if (tap_count(c) == 1 && c->weight_stride[0] == 1 && columns == TILE_COLUMNS && b->pixels > 0) {
                panel.source = NAMED(weight_lines)(c, b->group, column, b->first, depth).base;
                panel.step = c->weight_stride[1];
            } else {
                NAMED(pack_weights)(b->job, b->group, column, b->first, next, b->parts.panels);
            }
            if (column + TILE_COLUMNS < b->filter_end)
                panel.ahead = NAMED(weight_lines)(c, b->group, column + TILE_COLUMNS, b->first, depth);
            else if (!b->last)
                panel.ahead = NAMED(weight_lines)(c, b->group, b->filter_begin, next, min64(depth, entries - next));
        }
        if (!gemm_stores_transposed(b->job)) {
            NAMED(multiply_panel)(target, &rows, panel, depth, 0, b->pixels, column, columns, b->accumulate, b->last);
            continue;
        }
        const int is_one_block = entries <= b->job->block_entries;
        REAL *sums = b->parts.sums + (is_one_block ? 0 : (column - b->filter_begin) * b->pixels);
        const NAMED(target_t) aside = {.base = sums, .row_stride = TILE_COLUMNS, .column_stride = 1};
        NAMED(multiply_panel)(&aside, &rows, panel, depth, 0, b->pixels, 0, TILE_COLUMNS, b->accumulate, 0);
        if (!b->last) continue;
        if (target->epilogue != NULL) NAMED(finish_tile)(target, sums, TILE_COLUMNS, 0, b->pixels, column, columns);
        NAMED(store_transposed)(b->job, sums, b->pixel, b->pixels, columns,
                                target->base + column * target->column_stride);
    }
}

/* forward and one phase of backward_input: one block of pixels and filters of one group. */
static void NAMED(correlate)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const epilogue_t *e = &job->epilogue;
    const int64_t group = item % c->groups, entries = entry_count(c), filter = group * c->filters;
    const int64_t parts_of_filters = div_up(c->filters, job->block_filters), part = item / c->groups;
    const int by_columns = job->pixels_are_columns;
    NAMED(block_t) b = {.job = job, .parts = NAMED(split_scratch)(job, scratch), .group = group};
    b.pixel = pixel_block(c, job->block_pixels, part / parts_of_filters, &b.pixels);
    b.filter_begin = part % parts_of_filters * job->block_filters;
    b.filter_end = min64(b.filter_begin + job->block_filters, c->filters);
    const pixel_box_t box = pixel_box(c, b.pixel, b.pixels);

    int64_t first = 0, add_first = 0;
    const int64_t *offset = NULL, *add_offset = NULL;
    if (!gemm_stores_transposed(job))
        offset = NAMED(pixel_table)(c, c->result_stride, b.pixel, b.pixels, b.parts.result, &first);
    if (e->add != NULL) add_offset = NAMED(pixel_table)(c, e->add_stride, b.pixel, b.pixels, b.parts.added, &add_first);
    const NAMED(target_t) target = {
        .base = (REAL *)c->result + filter * c->result_stride[1] + first,
        .row_offset = by_columns ? NULL : offset,
        .column_offset = by_columns ? offset : NULL,
        .row_stride = c->result_stride[by_columns ? 1 : 4],
        .column_stride = c->result_stride[by_columns ? 4 : 1],
        .between = by_columns && job->owns_between,
        .epilogue = NAMED(epilogue_is_empty)(e) ? NULL : e,
        .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter,
        .bias_by_row = by_columns,
        .add = e->add == NULL ? NULL : (const REAL *)e->add + filter * e->add_stride[1] + add_first,
        .add_row_offset = by_columns ? NULL : add_offset,
        .add_column_offset = by_columns ? add_offset : NULL,
        .add_row_stride = e->add_stride[by_columns ? 1 : 4],
        .add_column_stride = e->add_stride[by_columns ? 4 : 1],
    };
    const int64_t entry_width = packed_entry_width(job, TILE_COLUMNS);
    do { /* at least once: with an empty reduction the result is the epilogue of 0 */
        b.depth = min64(job->block_entries, entries - b.first);
        b.last = b.first + b.depth >= entries;
        b.accumulate = b.first > 0;
        const band_t band = NAMED(gather)(job, group, &box, b.first, b.depth, &b.parts, &b.base);
        b.line = NULL;
        if (by_columns && !job->looks_up_weights && job->in_place && pixels_are_line(c, &band))
            b.line = b.base + b.pixel % (c->pixels[1] * c->pixels[2]);
        else
            pixel_offsets(c, &band, b.pixel, b.pixels, b.parts.pixel);
        const REAL *weights = (const REAL *)job->packed;
        if (weights != NULL) weights += (group * entries + b.first) * entry_width;
        if (job->looks_up_weights)
            NAMED(multiply_by_weights)(&b, &target);
        else if (by_columns)
            NAMED(multiply_by_pixels)(&b, &target, weights);
        else
            NAMED(multiply_by_filters)(&b, &target, weights);
        b.first += job->block_entries;
    } while (b.first < entries);
}

/* The output gradient of one block of pixels and one panel of filters: [pixel][TILE_COLUMNS], filled up with zeros. */
static void NAMED(pack_gradient)(const correlation_t *c, int64_t group, int64_t pixel, int64_t pixels, int64_t filter,
                                 REAL *panel) {
    const int64_t filter_step = c->result_stride[1], pixel_step = c->result_stride[4];
    const REAL *gradient = (const REAL *)c->result + (group * c->filters + filter) * filter_step;
    const int64_t count = min64(TILE_COLUMNS, c->filters - filter);
    for (int64_t done = 0, run; done < pixels; done += run) {
        int64_t offset;
        run = NAMED(result_run)(c, pixel + done, pixels - done, &offset);
        const REAL *source = gradient + offset;
        if (pixel_step == 1 && count == TILE_COLUMNS) {
            NAMED(pack_transposed)(source, filter_step, TILE_COLUMNS, run, panel);
            panel += run * TILE_COLUMNS;
            continue;
        }
        for (int64_t r = 0; r < run; r++, panel += TILE_COLUMNS, source += pixel_step) {
            NAMED(copy_line)(panel, source, filter_step, count);
            NAMED(zero_line)(panel + count, TILE_COLUMNS - count);
        }
    }
}

/* What such a panel is packed from, or the first part of it. */
static NAMED(lines_t)
    NAMED(gradient_lines)(const correlation_t *c, int64_t group, int64_t pixel, int64_t pixels, int64_t filter) {
    int64_t offset;
    const int64_t run = NAMED(result_run)(c, pixel, pixels, &offset);
    const int64_t filter_step = c->result_stride[1], count = min64(TILE_COLUMNS, c->filters - filter);
    const REAL *base = (const REAL *)c->result + (group * c->filters + filter) * filter_step + offset;
    if (c->result_stride[4] != 1) return (NAMED(lines_t)){base, NULL, c->result_stride[4], run, count};
    /* Whole images, of which the channels are neighbours. */
    if (filter_step == run) return (NAMED(lines_t)){base, NULL, c->result_stride[0], pixels / run, run * count};
    return (NAMED(lines_t)){base, NULL, filter_step, count, run};
}

/* Where the weight of an entry lies. */
static inline int64_t NAMED(entry_offset)(const correlation_t *c, int64_t entry) {
    const int64_t taps = tap_count(c), tap = entry % taps, *stride = c->weight_stride;
    return entry / taps * stride[1] + tap / (c->taps[1] * c->taps[2]) * stride[2] +
           tap / c->taps[2] % c->taps[1] * stride[3] + tap % c->taps[2] * stride[4];
}

/* Adds the splits in order and stores the gradients of entries [begin, end) and of `filters` neighbours in memory. */
static void NAMED(store_filters)(const gemm_job_t *job, const REAL *sums, int64_t width, int64_t begin, int64_t end,
                                 int64_t filters, REAL *weight) {
    const correlation_t *c = &job->correlation;
    const int64_t entries = entry_count(c);
    for (int64_t entry = begin; entry < end; entry++, sums += width) {
        NAMED(vector) sum[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) {
            sum[v] = NAMED(load)(sums + v * LANES);
            for (int64_t split = 1; split < job->splits; split++)
                sum[v] += NAMED(load)(sums + v * LANES + split * c->groups * entries * width);
        }
        NAMED(copy_line)(weight + NAMED(entry_offset)(c, entry), (const REAL *)sum, 1, filters);
    }
}

/* Adds the splits in order and stores the gradients of a panel of filters and of `length` entries from `begin` on, at
 * the weight's own strides. */
static void NAMED(store_gradient)(const gemm_job_t *job, int64_t group, int64_t filter, int64_t begin, int64_t length,
                                  const REAL *sums, int64_t width) {
    const correlation_t *c = &job->correlation;
    const int64_t entries = entry_count(c), taps = tap_count(c), end = begin + length, *stride = c->weight_stride;
    REAL *weight = (REAL *)c->weight + group * c->weight_group_stride + filter * stride[0];
    const int is_line = taps_are_dense(c) && stride[1] == taps;
    if (stride[0] == 1) {
        NAMED(store_filters)(job, sums, width, begin, end, min64(TILE_COLUMNS, c->filters - filter), weight);
        return;
    }
    for (int64_t first = begin; first < end; first += LANES)
        for (int v = 0; v < TILE_VECTORS && filter + v * LANES < c->filters; v++) {
            const int64_t count = min64(LANES, end - first), filters = min64(LANES, c->filters - filter - v * LANES);
            NAMED(vector) square[LANES];
            for (int64_t i = 0; i < LANES; i++) {
                const REAL *source = sums + (first - begin + min64(i, count - 1)) * width + v * LANES;
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

/* backward_weight: one block of entries and filters of one group over one pass of one split of the pixels. */
static void NAMED(weight_gradient)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t entries = entry_count(c), width = round_up(c->filters, TILE_COLUMNS);
    const int64_t parts_of_filters = div_up(c->filters, job->block_filters), block_item = item / parts_of_filters;
    const int64_t filter_begin = item % parts_of_filters * job->block_filters;
    const int64_t filter_end = min64(filter_begin + job->block_filters, c->filters);
    const int64_t per_split = div_up(entries, job->block_entries), group = block_item / per_split % c->groups;
    const int64_t split = block_item / per_split / c->groups, first = block_item % per_split * job->block_entries;
    const int64_t count = min64(job->block_entries, entries - first);
    const int64_t blocks = pixel_block_count(c, job->block_pixels), part = gemm_split_blocks(job);
    const int64_t begin = min64(split * part, blocks), end = min64(begin + part, blocks);
    const int64_t pass = begin + job->pass_first, stop = min64(pass + job->pass_blocks, end);
    const NAMED(scratch_t) parts = NAMED(split_scratch)(job, scratch);
    const int in_place = gemm_sums_in_place(job);
    REAL *sums = (REAL *)job->partial + ((split * c->groups + group) * entries + first) * width;
    NAMED(target_t) target = {.base = sums, .row_stride = width, .column_stride = 1};
    if (in_place) {
        target.base = (REAL *)c->weight + group * c->weight_group_stride + first * c->weight_stride[1];
        target.row_stride = c->weight_stride[1];
    } else if (begin == end && job->pass_first == 0 && filter_begin == 0) {
        NAMED(zero_line)(sums, count * width);
    }
    for (int64_t block = pass; block < stop; block++) {
        int64_t pixels;
        const int64_t pixel = pixel_block(c, job->block_pixels, block, &pixels);
        const pixel_box_t box = pixel_box(c, pixel, pixels);
        const REAL *base;
        const band_t band = NAMED(gather)(job, group, &box, first, count, &parts, &base);
        pixel_offsets(c, &band, pixel, pixels, parts.pixel);
        const NAMED(row_operand_t) rows = {base, count, panel_height(count, TILE_ROWS), parts.entry, parts.pixel};
        const int is_aside = gemm_stores_panels(job);
        if (is_aside) target = (NAMED(target_t)){.base = parts.sums, .row_stride = TILE_COLUMNS, .column_stride = 1};
        for (int64_t column = filter_begin; column < filter_end; column += TILE_COLUMNS) {
            const int64_t columns = in_place ? min64(TILE_COLUMNS, c->filters - column) : TILE_COLUMNS;
            NAMED(pack_gradient)(c, group, pixel, pixels, column, parts.panels);
            NAMED(column_operand_t) panel = {.panel = parts.panels, .width = TILE_COLUMNS};
            if (column + TILE_COLUMNS < filter_end) {
                panel.ahead = NAMED(gradient_lines)(c, group, pixel, pixels, column + TILE_COLUMNS);
            } else if (block + 1 < stop) {
                int64_t count_ahead;
                const int64_t pixel_ahead = pixel_block(c, job->block_pixels, block + 1, &count_ahead);
                panel.ahead = NAMED(gradient_lines)(c, group, pixel_ahead, count_ahead, filter_begin);
            }
            NAMED(multiply_panel)(&target, &rows, panel, pixels, 0, count, is_aside ? 0 : column, columns,
                                  block > begin, 0);
            if (is_aside) NAMED(store_gradient)(job, group, column, first, count, parts.sums, TILE_COLUMNS);
        }
    }
}

/* One panel of filters, all entries. */
static void NAMED(weight_reduce)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t panels = div_up(c->filters, TILE_COLUMNS), group = item / panels, entries = entry_count(c);
    const int64_t filter = item % panels * TILE_COLUMNS, width = panels * TILE_COLUMNS;
    (void)scratch;
    NAMED(store_gradient)(job, group, filter, 0, entries, (const REAL *)job->partial + group * entries * width + filter,
                          width);
}
