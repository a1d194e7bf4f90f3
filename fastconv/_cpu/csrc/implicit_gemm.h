/* Convolution as a matrix product whose pixel operand is never built: blocks of it are gathered straight from the array
 * into panels that fit the caches, and the register tile multiplies them by packed weights.
 *
 * forward and backward_input, with the reduction index r running over (channel, tap) or (tap, channel):
 *
 *     result[f, p] = sum over r of weight[f, r] * source[r, p]
 *
 *   channels first: rows = filters, columns = pixels, so that vectors are stored along the width;
 *   channels last:  rows = pixels, columns = filters, so that vectors are stored along the channels.
 *
 * backward_weight, with the pixels p of all images as the reduction:
 *
 *     weight[f, q] = sum over p of gradient[f, p] * source[q, p],   q = (channel, tap) or (tap, channel)
 *
 * Blocking: an item owns `span` pixels (columns q) and walks the reduction in blocks of `depth`; one block of the
 * source is packed into L2, a column panel of it stays in L1 while row panels stream past. Numerics: every block is
 * summed from zero and blocks are added in order, so the bits depend on `depth` alone, never on threads or on the other
 * blocks. */

/* Where element (i, j) of a product goes: rows and columns lie at constant strides or at the offsets of a table. */
typedef struct {
    REAL *base;
    const int64_t *row_offset; /* NULL: row_stride */
    const int64_t *column_offset;
    int64_t row_stride;
    int64_t column_stride;
    const epilogue_t *epilogue; /* NULL: none */
    const REAL *bias;           /* of row 0 or column 0 */
    int bias_by_row;
    const REAL *add;
    const int64_t *add_row_offset;
    const int64_t *add_column_offset;
    int64_t add_row_stride;
    int64_t add_column_stride;
} NAMED(target_t);

/* A packed operand: panels `panel_stride` elements apart, of which this block starts at depth index `first`. */
typedef struct {
    const REAL *panels;
    int64_t panel_stride;
    int64_t first;
    int64_t count; /* rows or columns in all panels */
    int64_t width; /* of every panel but, for rows, the last */
} NAMED(operand_t);

static inline int64_t NAMED(at)(const int64_t *offset, int64_t stride, int64_t i) {
    return offset != NULL ? offset[i] : i * stride;
}

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

/* One register tile: straight into the target where that lies in rows, else through a buffer. */
static void NAMED(store_tile)(const NAMED(target_t) *t, const NAMED(operand_t) *a, const NAMED(operand_t) *b,
                              int64_t depth, int64_t row, int64_t column, int columns_even, int accumulate, int last) {
    const int64_t rows = min64(a->width, a->count - row), columns = min64(TILE_COLUMNS, b->count - column);
    const REAL *left = a->panels + row / a->width * a->panel_stride + a->first * rows;
    const REAL *right = b->panels + column / TILE_COLUMNS * b->panel_stride + b->first * TILE_COLUMNS;
    const int64_t spacing = t->row_offset == NULL ? t->row_stride
                            : rows > 1            ? t->row_offset[row + 1] - t->row_offset[row]
                                                  : 0;
    const int finish = last && t->epilogue != NULL;
    if (columns_even && NAMED(is_even)(t->row_offset, spacing, row, rows)) {
        REAL *target = t->base + NAMED(at)(t->row_offset, t->row_stride, row) +
                       NAMED(at)(t->column_offset, t->column_stride, column);
        NAMED(tiles)[rows](depth, left, right, target, spacing, accumulate);
        if (finish) NAMED(finish_tile)(t, target, spacing, row, rows, column, columns);
        return;
    }
    REAL tile[TILE_ROWS * TILE_COLUMNS];
    NAMED(tiles)[rows](depth, left, right, tile, TILE_COLUMNS, 0);
    for (int64_t i = 0; accumulate && i < rows; i++) {
        const REAL *source = t->base + NAMED(at)(t->row_offset, t->row_stride, row + i);
        for (int64_t j = 0; j < columns; j++)
            tile[i * TILE_COLUMNS + j] += source[NAMED(at)(t->column_offset, t->column_stride, column + j)];
    }
    if (finish) NAMED(finish_tile)(t, tile, TILE_COLUMNS, row, rows, column, columns);
    for (int64_t i = 0; i < rows; i++) {
        REAL *target = t->base + NAMED(at)(t->row_offset, t->row_stride, row + i);
        for (int64_t j = 0; j < columns; j++)
            target[NAMED(at)(t->column_offset, t->column_stride, column + j)] = tile[i * TILE_COLUMNS + j];
    }
}

/* target (+)= a * b over one depth block. Row panels go in groups that stay in L2 beside the packed block. */
static void NAMED(multiply)(const NAMED(target_t) *t, const NAMED(operand_t) *a, const NAMED(operand_t) *b,
                            int64_t depth, int accumulate, int last) {
    const int64_t group_elements = 131072 / (int64_t)sizeof(REAL);
    const int64_t group = a->width * (1 + group_elements / ((depth + 1) * a->width));
    for (int64_t begin = 0; begin < a->count; begin += group) {
        const int64_t end = min64(begin + group, a->count);
        for (int64_t column = 0; column < b->count; column += TILE_COLUMNS) {
            const int even = column + TILE_COLUMNS <= b->count && (t->column_offset != NULL || t->column_stride == 1) &&
                             NAMED(is_even)(t->column_offset, 1, column, TILE_COLUMNS);
            for (int64_t row = begin; row < end; row += a->width)
                NAMED(store_tile)(t, a, b, depth, row, column, even, accumulate, last);
        }
    }
}

/* One panel of packed weights: [reduction][panel width], padded with zeros to whole column panels. */
static void NAMED(gemm_pack_weight)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t width = job->pixels_are_columns ? panel_height(c->filters, TILE_ROWS) : TILE_COLUMNS;
    const int64_t panels = div_up(c->filters, width), group = item / panels, first = item % panels * width;
    const int64_t count = min64(width, c->filters - first), height = job->pixels_are_columns ? count : width;
    const int64_t taps = tap_count(c), reduction = c->channels * taps;
    REAL *panel = (REAL *)job->packed + group * packed_weight_size(job, TILE_COLUMNS) + first * reduction;
    (void)scratch;
    for (int64_t i = 0; i < height; i++) {
        const REAL *weight =
            (const REAL *)c->weight + group * c->weight_group_stride + (first + i) * c->weight_stride[0];
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t d = tap / (c->taps[1] * c->taps[2]), h = tap / c->taps[2] % c->taps[1], w = tap % c->taps[2];
            const REAL *source = weight + d * c->weight_stride[2] + h * c->weight_stride[3] + w * c->weight_stride[4];
            const int64_t start = job->source_channel_lines ? tap * c->channels : tap;
            const int64_t step = job->source_channel_lines ? 1 : taps;
            for (int64_t channel = 0; channel < c->channels; channel++)
                panel[(start + channel * step) * height + i] = i < count ? source[channel * c->weight_stride[1]] : 0;
        }
    }
}

/* (channel, tap) of column or reduction index `q` in channel-major order. */
static inline int64_t NAMED(split_tap)(const correlation_t *c, int64_t q, int64_t *tap) {
    for (int axis = 2; axis >= 0; axis--) {
        tap[axis] = q % c->taps[axis];
        q /= c->taps[axis];
    }
    return q;
}

/* Which part of a correlation's source becomes a packed operand: entries q of the (channel, tap) axis, in channel-major
 * order or, with channel_lines, tap-major, and pixels p. Panel widths run along p or, not `along_pixels`, along q. */
typedef struct {
    const correlation_t *correlation;
    int64_t group;
    int channel_lines;
    int along_pixels;
    int are_columns;
    int64_t width; /* of a panel */
} NAMED(packing_t);

/* Packs source[q, p] for q in [q0, q0 + qs) and p in [p0, p0 + ps). `lines` is scratch for gathered lines. */
static void NAMED(pack_source)(const NAMED(packing_t) *packing, int64_t q0, int64_t qs, int64_t p0, int64_t ps,
                               REAL *panels, REAL *lines) {
    const correlation_t *c = packing->correlation;
    const int channel_lines = packing->channel_lines, lines_along_width = channel_lines != packing->along_pixels;
    const int64_t width = packing->width, depth = packing->along_pixels ? qs : ps;
    const int64_t count = packing->along_pixels ? ps : qs, line_total = channel_lines ? ps : qs;
    const int64_t line_stride = round_up(depth, LANES);
    int64_t n = 0, position[3] = {0}, tap[3], filled = 0;
    if (channel_lines) NAMED(split_pixel)(c, p0, &n, position);
    for (int64_t line = 0; line < line_total; line++) {
        REAL *target = lines_along_width ? lines : lines + filled * line_stride;
        if (channel_lines) {
            NAMED(gather_channels)(c, packing->group, n, position, q0, qs, target);
            if (++position[2] == c->pixels[2]) NAMED(next_row)(c, &n, position);
        } else {
            const int64_t channel = NAMED(split_tap)(c, q0 + line, tap);
            NAMED(gather_pixels)(c, packing->group * c->channels + channel, tap, p0, ps, target);
        }
        if (lines_along_width) {
            NAMED(distribute)(lines, count, width, packing->are_columns, depth * width, line, panels);
        } else if (++filled == width || line + 1 == line_total) {
            const int64_t height = packing->are_columns ? width : filled;
            for (int64_t i = filled; i < round_up(height, LANES); i++) NAMED(zero_line)(lines + i * line_stride, depth);
            NAMED(pack_transposed)(lines, line_stride, height, depth, panels + line / width * depth * width);
            filled = 0;
        }
    }
}

/* Offsets of pixels [pixel, pixel + count) in an array of the result's shape, without its channel. */
static void NAMED(pixel_offsets)(const correlation_t *c, const int64_t *stride, int64_t pixel, int64_t count,
                                 int64_t *offset) {
    int64_t n, position[3];
    NAMED(split_pixel)(c, pixel, &n, position);
    for (int64_t i = 0; i < count; i++) {
        offset[i] = n * stride[0] + position[0] * stride[2] + position[1] * stride[3] + position[2] * stride[4];
        if (++position[2] == c->pixels[2]) NAMED(next_row)(c, &n, position);
    }
}

/* The parts of a thread's scratch, as gemm_scratch_bytes counts them. */
typedef struct {
    REAL *source;
    REAL *gradient;
    REAL *lines;
    int64_t *offset;
    int64_t *add_offset;
} NAMED(scratch_t);

static NAMED(scratch_t) NAMED(split_scratch)(const gemm_job_t *job, void *scratch, int64_t rows) {
    const int64_t widest = TILE_ROWS > TILE_COLUMNS ? TILE_ROWS : TILE_COLUMNS;
    const int64_t lines = line_count(TILE_ROWS, TILE_COLUMNS, LANES) * round_up(job->depth, LANES);
    const int64_t line = (job->span > rows ? job->span : rows) + 2 * widest;
    NAMED(scratch_t) parts;
    char *next = (char *)scratch;
    parts.source = (REAL *)next;
    next += round_up((job->depth * (job->span + widest) + LANES) * REAL_BYTES, 64);
    parts.gradient = (REAL *)next;
    next += round_up((job->depth * rows + LANES) * REAL_BYTES, 64);
    parts.lines = (REAL *)next;
    next += round_up((lines > line ? lines : line) * REAL_BYTES, 64);
    parts.offset = (int64_t *)next;
    parts.add_offset = parts.offset + job->span + widest;
    return parts;
}

/* forward and one phase of backward_input: `span` pixels of one group, all its filters. */
static void NAMED(gemm_correlate)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const epilogue_t *e = &job->epilogue;
    const int64_t group = item % c->groups, p0 = item / c->groups * job->span;
    const int64_t ps = min64(job->span, pixel_count(c) - p0), reduction = c->channels * tap_count(c);
    const int64_t filter = group * c->filters;
    const int by_columns = job->pixels_are_columns;
    const NAMED(scratch_t) parts = NAMED(split_scratch)(job, scratch, 0);

    NAMED(pixel_offsets)(c, c->result_stride, p0, ps, parts.offset);
    if (e->add != NULL) NAMED(pixel_offsets)(c, e->add_stride, p0, ps, parts.add_offset);
    const NAMED(target_t) target = {
        .base = (REAL *)c->result + filter * c->result_stride[1],
        .row_offset = by_columns ? NULL : parts.offset,
        .column_offset = by_columns ? parts.offset : NULL,
        .row_stride = c->result_stride[1],
        .column_stride = c->result_stride[1],
        .epilogue = NAMED(epilogue_is_empty)(e) ? NULL : e,
        .bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter,
        .bias_by_row = by_columns,
        .add = e->add == NULL ? NULL : (const REAL *)e->add + filter * e->add_stride[1],
        .add_row_offset = by_columns ? NULL : parts.add_offset,
        .add_column_offset = by_columns ? parts.add_offset : NULL,
        .add_row_stride = e->add_stride[1],
        .add_column_stride = e->add_stride[1],
    };
    const int64_t weight_width = by_columns ? panel_height(c->filters, TILE_ROWS) : TILE_COLUMNS;
    const NAMED(packing_t) packing = {
        .correlation = c,
        .group = group,
        .channel_lines = job->source_channel_lines,
        .along_pixels = 1,
        .are_columns = by_columns,
        .width = by_columns ? TILE_COLUMNS : panel_height(ps, TILE_ROWS),
    };
    int64_t first = 0;
    do { /* once even when the reduction is empty: the result is then the epilogue of 0 */
        const int64_t depth = min64(job->depth, reduction - first);
        NAMED(pack_source)(&packing, first, depth, p0, ps, parts.source, parts.lines);
        const NAMED(operand_t) pixels = {parts.source, depth * packing.width, 0, ps, packing.width};
        const NAMED(operand_t) weights = {(const REAL *)job->packed + group * packed_weight_size(job, TILE_COLUMNS),
                                          reduction * weight_width, first, c->filters, weight_width};
        const int last = first + depth >= reduction;
        if (by_columns)
            NAMED(multiply)(&target, &weights, &pixels, depth, first > 0, last);
        else
            NAMED(multiply)(&target, &pixels, &weights, depth, first > 0, last);
        first += job->depth;
    } while (first < reduction);
}

/* backward_weight: `span` columns of one group over one pass of one split of the pixels, added to its partial sums. */
static void NAMED(gemm_weight_gradient)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t columns = c->channels * tap_count(c), blocks = div_up(columns, job->span);
    const int64_t block = item % blocks, group = item / blocks % c->groups, split = item / blocks / c->groups;
    const int64_t q0 = block * job->span, qs = min64(job->span, columns - q0), pixels = pixel_count(c);
    const int64_t part = gemm_split_pixels(job), begin = min64(split * part, pixels), end = min64(begin + part, pixels);
    const int64_t first = begin + job->pass_first, stop = min64(first + job->pass_pixels, end);
    if (first >= end && first > begin) return;
    const NAMED(scratch_t) parts = NAMED(split_scratch)(job, scratch, c->filters);

    correlation_t gradient = *c; /* the output gradient as a source of its own, one tap, no padding */
    gradient.source = c->result;
    gradient.channels = c->filters;
    for (int i = 0; i < 5; i++) gradient.source_stride[i] = c->result_stride[i];
    for (int axis = 0; axis < 3; axis++) {
        gradient.taps[axis] = gradient.step[axis] = 1;
        gradient.first[axis] = gradient.delta[axis] = 0;
        gradient.source_size[axis] = c->pixels[axis];
    }
    const NAMED(packing_t) rows = {&gradient, group, job->gradient_channel_lines,
                                   0,         0,     panel_height(c->filters, TILE_ROWS)};
    const NAMED(packing_t) sources = {c, group, job->source_channel_lines, 0, 1, TILE_COLUMNS};
    const NAMED(target_t) target = {
        .base = (REAL *)job->partial + ((split * c->groups + group) * c->filters) * columns + q0,
        .row_stride = columns,
        .column_stride = 1,
    };
    int64_t p0 = first;
    do { /* once even without pixels: the gradient is then 0 */
        const int64_t depth = min64(job->depth, end - p0);
        NAMED(pack_source)(&rows, 0, c->filters, p0, depth, parts.gradient, parts.lines);
        NAMED(pack_source)(&sources, q0, qs, p0, depth, parts.source, parts.lines);
        const NAMED(operand_t) a = {parts.gradient, depth * rows.width, 0, c->filters, rows.width};
        const NAMED(operand_t) b = {parts.source, depth * TILE_COLUMNS, 0, qs, TILE_COLUMNS};
        NAMED(multiply)(&target, &a, &b, depth, p0 > begin, 0);
        p0 += job->depth;
    } while (p0 < stop);
}

/* Adds the splits in order and stores one filter's gradient at the weight's own strides. */
static void NAMED(gemm_weight_reduce)(const void *data, int64_t item, void *scratch) {
    const gemm_job_t *job = (const gemm_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t taps = tap_count(c), columns = c->channels * taps, size = c->groups * c->filters * columns;
    const int64_t group = item / c->filters, filter = item % c->filters;
    REAL *weight = (REAL *)c->weight + group * c->weight_group_stride + filter * c->weight_stride[0];
    REAL *sum = (REAL *)job->partial + item * columns;
    (void)scratch;
    for (int64_t split = 1; split < job->splits; split++)
        for (int64_t q = 0; q < columns; q++) sum[q] += sum[split * size + q];
    for (int64_t q = 0; q < columns; q++) {
        int64_t tap[3], channel;
        if (job->source_channel_lines) {
            channel = q % c->channels;
            NAMED(split_tap)(c, q / c->channels, tap);
        } else {
            channel = NAMED(split_tap)(c, q, tap);
        }
        weight[channel * c->weight_stride[1] + tap[0] * c->weight_stride[2] + tap[1] * c->weight_stride[3] +
               tap[2] * c->weight_stride[4]] = sum[q];
    }
}
