/* Convolution by Winograd's minimal filtering, fused: a block of tiles is transformed, multiplied and transformed back
 * while it is in cache. Where tiles are few and filters many, so that weights are most of the data, it is the other way
 * round: all tiles are transformed first, and blocks of panels of weights are transformed and multiplied in cache.
 *
 *     result = A^T [ sum over c of (G weight G^T) * (B^T source B) ] A      for every tile of m x m results
 *
 * forward and backward_input; h or w may be without taps (1-D forms), taps on d and the phases of a strided source are
 * in the reduction, those of a strided result are filters (job.h). An item owns a block of tile rows and tile
 * columns: rows are counted over images and planes, so that small planes share a block. Layout: lanes are channels
 * everywhere,
 *
 *     transformed source  [point][tile group][vector of the reduction][tile of group][lane]
 *     transformed weights [point][panel][reduction][TILE_COLUMNS]
 *     products            [point][filter vector][tile][lane]
 *
 * in groups of TILE_ROWS tiles: both operands are streams. The product broadcasts source elements against vectors of
 * filters, 1 to TILE_ROWS tiles at a time, over the whole reduction. Numerics: one chain of multiply-adds per product;
 * the bits do not depend on blocks or threads. Elements outside the source are zeros. An image with a result that is
 * not finite is marked as spoiled. */

static inline int NAMED(is_zero)(const NAMED(vector) *check) {
    REAL sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += (*check)[lane];
    return sum == 0;
}

/* Vectors of pixels from `count` <= LANES lines `stride` apart into LANES vectors of channels, missing lines zero. */
ALWAYS_INLINE void NAMED(load_square)(const REAL *source, int64_t stride, int64_t count, NAMED(vector) *square) {
    if (count == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) square[i] = *(const NAMED(unaligned) *)(source + i * stride);
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (i < count)
                square[i] = *(const NAMED(unaligned) *)(source + i * stride);
            else
                square[i] = (NAMED(vector)){0};
    }
    NAMED(transpose)(square);
}

/* `count` pixels of `channels` <= LANES channels to target[pixel][lane], missing channels zero. `room` pixels may be
 * read. */
static void NAMED(gather_vectors)(const REAL *source, int64_t channel_stride, int64_t pixel_stride, int64_t channels,
                                  int64_t count, int64_t room, REAL *target) {
    if (pixel_stride == 1 && room >= LANES) {
        for (int64_t i = 0; i < count;) {
            NAMED(vector) square[LANES];
            /* The last square begins early rather than read beyond the room. */
            const int64_t start = min64(i, room - LANES), skip = i - start, fresh = min64(LANES - skip, count - i);
            NAMED(load_square)(source + start, channel_stride, channels, square);
            if (skip == 0 && fresh == LANES) {
#pragma GCC unroll 16
                for (int j = 0; j < LANES; j++) *(NAMED(vector) *)(target + (i + j) * LANES) = square[j];
            } else {
                for (int64_t j = 0; j < fresh; j++) *(NAMED(vector) *)(target + (i + j) * LANES) = square[skip + j];
            }
            i += fresh;
        }
    } else if (channel_stride == 1 && channels == LANES) {
        for (int64_t i = 0; i < count; i++)
            *(NAMED(vector) *)(target + i * LANES) = *(const NAMED(unaligned) *)(source + i * pixel_stride);
    } else {
        for (int64_t i = 0; i < count; i++)
            for (int64_t lane = 0; lane < LANES; lane++)
                target[i * LANES + lane] = lane < channels ? source[i * pixel_stride + lane * channel_stride] : 0;
    }
}

/* A window of a plane for one vector of channels: rows from `top`, columns from `left`, zeros outside the plane. */
typedef struct {
    const REAL *plane; /* channel 0 of the vector at (0, 0); NULL: all zeros */
    int64_t channel_stride;
    int64_t row_stride;
    int64_t column_stride;
    int64_t channels; /* at most LANES */
    int64_t height;   /* of the plane */
    int64_t width;
    int64_t top;
    int64_t left;
    int64_t rows;
    int64_t columns;
} NAMED(window_t);

/* The window of `rows` x `columns` that begins at (top, left) of the plane of elements origin + spacing * j of `plane`,
 * which has the `stride` of its array and the `size` of its plane. */
static NAMED(window_t) NAMED(window_of)(const winograd_job_t *job, const REAL *plane, const int64_t *stride,
                                        const int64_t *size, const int64_t *origin, int64_t channels, int64_t top,
                                        int64_t left, int64_t rows, int64_t columns) {
    const winograd_inside_t h = winograd_inside(origin[0], job->spacing[0], size[1]);
    const winograd_inside_t w = winograd_inside(origin[1], job->spacing[1], size[2]);
    return (NAMED(window_t)){
        .plane = plane == NULL ? NULL : plane + h.first * stride[3] + w.first * stride[4],
        .channel_stride = stride[1],
        .row_stride = stride[3] * job->spacing[0],
        .column_stride = stride[4] * job->spacing[1],
        .channels = channels,
        .height = h.count,
        .width = w.count,
        .top = top - h.low,
        .left = left - w.low,
        .rows = rows,
        .columns = columns,
    };
}

/* To pixels[row][column][lane]. */
static void NAMED(gather_window)(const NAMED(window_t) *window, REAL *pixels) {
    const int64_t columns = window->columns, row_stride = window->row_stride, column_stride = window->column_stride;
    const int64_t begin = min64(max64(-window->left, 0), columns);
    const int64_t end = max64(min64(window->width - window->left, columns), begin);
    const int dense = column_stride == 1 && row_stride == window->width;
    for (int64_t row = 0; row < window->rows; row++, pixels += columns * LANES) {
        const int64_t h = window->top + row, first = window->left + begin;
        if (window->plane == NULL || h < 0 || h >= window->height) {
            NAMED(zero_line)(pixels, columns * LANES);
            continue;
        }
        /* In a dense plane lines may be read on into the next ones. */
        const int64_t room = dense ? (window->height - h) * window->width - first : end - begin;
        NAMED(zero_line)(pixels, begin * LANES);
        NAMED(gather_vectors)(window->plane + h * row_stride + first * column_stride, window->channel_stride,
                              column_stride, window->channels, end - begin, room, pixels + begin * LANES);
        NAMED(zero_line)(pixels + end * LANES, (columns - end) * LANES);
    }
}

/* Window `window` of the source under a patch, all phases. */
static NAMED(window_t)
    NAMED(source_window)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group, int64_t window) {
    const correlation_t *c = &job->correlation;
    const int64_t of_tap = div_up(c->channels, LANES), channel = window % of_tap * LANES;
    const int64_t plane = patch->plane * c->step[0] + c->first[0] + window / of_tap * c->delta[0];
    const int64_t h_size = job->outputs[0] * job->source_phases[0], w_size = job->outputs[1] * job->source_phases[1];
    const REAL *source = (const REAL *)c->source + patch->image * c->source_stride[0] +
                         (group * c->channels + channel) * c->source_stride[1] + plane * c->source_stride[2];
    const int64_t origin[2] = {patch->residue[0] + c->first[1], patch->residue[1] + c->first[2]};
    return NAMED(window_of)(job, plane >= 0 && plane < c->source_size[0] ? source : NULL, c->source_stride,
                            c->source_size, origin, min64(LANES, c->channels - channel),
                            patch->begin[0] * job->source_phases[0], patch->begin[1] * job->source_phases[1],
                            patch->rows * h_size + (job->tile_size[0] - job->outputs[0]) * job->source_phases[0],
                            patch->columns * w_size + (job->tile_size[1] - job->outputs[1]) * job->source_phases[1]);
}

/* Tile (row, column) of phase `phase` in the pixels of a window, which has `width` columns. */
static inline NAMED(tile_array_t) NAMED(tile_at)(REAL *pixels, const int64_t *outputs, const int64_t *phases,
                                                 int64_t phase, int64_t row, int64_t column, int64_t width) {
    const int64_t h = row * outputs[0] * phases[0] + phase / phases[1];
    const int64_t w = column * outputs[1] * phases[1] + phase % phases[1];
    return (NAMED(tile_array_t)){pixels + (h * width + w) * LANES, phases[0] * width * LANES, phases[1] * LANES,
                                 outputs[1] * phases[1] * LANES};
}

/* Where a vector of the reduction of one tile of `tiles` lies in the transformed source. The last group is shorter. */
static inline int64_t NAMED(tile_offset)(int64_t tile, int64_t tiles, int64_t vector, int64_t vectors) {
    const int64_t first = tile / TILE_ROWS * TILE_ROWS, height = min64(TILE_ROWS, tiles - first);
    return (first * vectors + vector * height + tile - first) * LANES;
}

/* The pixels under a patch, window `number` of the source, to pixels[row][column][lane]; returns the columns. */
static int64_t NAMED(gather_source)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group,
                                    int64_t number, REAL *pixels) {
    if (winograd_source_lanes(job) > 1) return NAMED(gather_lanes)(job, patch, group, number, pixels);
    const NAMED(window_t) window = NAMED(source_window)(job, patch, group, number);
    NAMED(gather_window)(&window, pixels);
    return window.columns;
}

/* B^T d B of the tiles of a patch, window `number` of the source. */
static void NAMED(transform_patch)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group,
                                   int64_t number, int64_t tiles, REAL *target, int64_t plane, REAL *pixels) {
    const NAMED(tile_transform_fn) transform = NAMED(tile_transform)(job, TRANSFORM_SOURCE, job->outputs);
    const int64_t width = NAMED(gather_source)(job, patch, group, number, pixels);
    const int64_t phases = winograd_source_phases(job), vectors = winograd_reduction(job, LANES) / LANES;
    for (int64_t phase = 0; phase < phases; phase++) {
        const int64_t vector = winograd_vector(job, phase, number);
        for (int64_t row = 0; row < patch->rows; row++)
            for (int64_t column = 0, count; column < patch->columns; column += count) {
                const int64_t tile = patch->tile + row * patch->columns + column;
                count = min64(TILE_ROWS - tile % TILE_ROWS, patch->columns - column); /* of a group */
                transform(NAMED(tile_at)(pixels, job->outputs, job->source_phases, phase, row, column, width),
                          (NAMED(tile_array_t)){target + NAMED(tile_offset)(tile, tiles, vector, vectors),
                                                job->tile_size[1] * plane, plane, LANES},
                          count, NULL);
            }
    }
}

/* A^T s A of the tiles of a patch for one vector of filters, all phases of it `phase_size` elements apart, to
 * pixels[row][column][lane] with `width` columns. Tiles go from right to left, so that what one writes beyond the width
 * is overwritten by the next row. Returns whether all results are finite. */
static int NAMED(transform_back)(const winograd_job_t *job, const winograd_patch_t *patch, REAL *source,
                                 int64_t phase_size, int64_t plane, int64_t width, REAL *pixels) {
    const NAMED(tile_transform_fn) transform = NAMED(tile_transform)(job, TRANSFORM_RESULT, job->outputs);
    NAMED(vector) check = {0};
    for (int64_t row = 0; row < patch->rows; row++, source += patch->columns * LANES)
        for (int64_t phase = 0; phase < winograd_result_phases(job); phase++) {
            NAMED(tile_array_t)
            to = NAMED(tile_at)(pixels, job->outputs, job->result_phases, phase, row, patch->columns - 1, width);
            to.next = -to.next;
            transform((NAMED(tile_array_t)){source + phase * phase_size + (patch->columns - 1) * LANES,
                                            job->tile_size[1] * plane, plane, -LANES},
                      to, patch->columns, &check);
        }
    return NAMED(is_zero)(&check);
}

/* One group of `tiles` tiles times one panel of filters:
 *
 *     c[v][i][lane] = sum over r of  a[r / LANES][i][r % LANES] * b[r][v][lane]      (+ c[v][i][lane] if `accumulates`)
 *
 * over some vectors of the reduction: `run` of them, `times` times, and `skip` more in between. a's are `a_stride`
 * elements apart, c's rows `c_stride`. Meanwhile the weights to come are fetched into L2, `fetch` elements from `next`
 * on per vector. */
typedef struct {
    int64_t run, times, skip;
} NAMED(runs_t);

ALWAYS_INLINE void NAMED(winograd_tile_of)(const int tiles, NAMED(runs_t) runs, const REAL *a, int64_t a_stride,
                                           const REAL *b, int accumulates, REAL *c, int64_t c_stride, const REAL *next,
                                           int64_t fetch) {
    NAMED(vector) sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < tiles; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++)
            sum[i][v] = accumulates ? *(const NAMED(vector) *)(c + v * c_stride + i * LANES) : (NAMED(vector)){0};
    for (; runs.times > 0; runs.times--, a += runs.skip * a_stride, b += runs.skip * LANES * TILE_COLUMNS)
        for (int64_t q = 0; q < runs.run; q++, a += a_stride, next += fetch) {
            for (int64_t i = 0; i < fetch; i += 64 / REAL_BYTES) __builtin_prefetch(next + i, 0, 2);
#pragma GCC unroll 4
            for (int lane = 0; lane < LANES; lane++, b += TILE_COLUMNS) {
                NAMED(vector) columns[TILE_VECTORS];
#pragma GCC unroll 2
                for (int v = 0; v < TILE_VECTORS; v++) columns[v] = *(const NAMED(vector) *)(b + v * LANES);
#pragma GCC unroll 16
                for (int i = 0; i < tiles; i++)
#pragma GCC unroll 2
                    for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] += columns[v] * a[i * LANES + lane];
            }
        }
#pragma GCC unroll 16
    for (int i = 0; i < tiles; i++)
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) *(NAMED(vector) *)(c + v * c_stride + i * LANES) = sum[i][v];
}

typedef void (*NAMED(winograd_tile_fn))(NAMED(runs_t) runs, const REAL *a, int64_t a_stride, const REAL *b,
                                        int accumulates, REAL *c, int64_t c_stride, const REAL *next, int64_t fetch);
#define TILE(rows)                                                                                                     \
    static void JOIN(NAMED(winograd_tile), rows)(NAMED(runs_t) runs, const REAL *a, int64_t a_stride, const REAL *b,   \
                                                 int accumulates, REAL *c, int64_t c_stride, const REAL *next,         \
                                                 int64_t fetch) {                                                      \
        NAMED(winograd_tile_of)(rows, runs, a, a_stride, b, accumulates, c, c_stride, next, fetch);                    \
    }
EACH_ROWS(TILE)
#undef TILE
#define TILE(rows) JOIN(NAMED(winograd_tile), rows),
static const NAMED(winograd_tile_fn) NAMED(winograd_tiles)[TILE_ROWS + 1] = {NULL, EACH_ROWS(TILE)};
#undef TILE

/* Finished pixels of one vector of filters, from lanes to the result. `count` pixels at constant strides. */
static void NAMED(scatter_vectors)(const REAL *pixels, int64_t count, int64_t filters, REAL *result,
                                   int64_t filter_stride, int64_t pixel_stride) {
    if (pixel_stride == 1 && count >= LANES) {
        for (int64_t i = 0; i < count; i += LANES) {
            NAMED(vector) square[LANES];
            i = min64(i, count - LANES); /* the last square begins early */
#pragma GCC unroll 16
            for (int j = 0; j < LANES; j++) square[j] = *(const NAMED(vector) *)(pixels + (i + j) * LANES);
            NAMED(transpose)(square);
            if (filters == LANES) {
#pragma GCC unroll 16
                for (int j = 0; j < LANES; j++) *(NAMED(unaligned) *)(result + j * filter_stride + i) = square[j];
            } else {
                for (int64_t j = 0; j < filters; j++) *(NAMED(unaligned) *)(result + j * filter_stride + i) = square[j];
            }
        }
    } else if (filter_stride == 1 && filters == LANES) {
        for (int64_t i = 0; i < count; i++)
            *(NAMED(unaligned) *)(result + i * pixel_stride) = *(const NAMED(vector) *)(pixels + i * LANES);
    } else {
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < filters; j++) result[i * pixel_stride + j * filter_stride] = pixels[i * LANES + j];
    }
}

/* Bias, add and activation on `count` pixels of the result, `stride` apart, and `add_stride` in what is added. */
static void NAMED(finish_pixels)(const correlation_t *c, const epilogue_t *e, int64_t count, int64_t filter,
                                 int64_t filters, REAL *result, int64_t stride, const REAL *add, int64_t add_stride) {
    const REAL *bias = e->bias == NULL ? NULL : (const REAL *)e->bias + filter;
    const int64_t filter_stride = c->result_stride[1];
    const NAMED(finish_t) by_pixels = {count, filters, result, stride,     filter_stride,   bias,
                                       0,     1,       add,    add_stride, e->add_stride[1]},
                          by_filters = {filters, count, result, filter_stride,    stride,    bias,
                                        1,       0,     add,    e->add_stride[1], add_stride};
    NAMED(finish_rows)(e, filter_stride == 1 ? &by_pixels : &by_filters);
}

/* The results of a patch on one axis that lie inside: `count` elements of its plane from element `first` on, which is
 * number `skipped` of the patch. */
typedef struct {
    int64_t first, count, skipped;
} NAMED(inside_t);

static NAMED(inside_t)
    NAMED(inside_of)(const winograd_job_t *job, const winograd_patch_t *patch, int axis, int64_t tiles) {
    const int64_t phases = job->result_phases[axis], begin = patch->begin[axis] * phases + job->origin[axis];
    const int64_t inside = div_up(job->correlation.pixels[1 + axis] - patch->residue[axis], job->spacing[axis]);
    const int64_t first = max64(begin + patch->early[axis] * phases, 0);
    return (NAMED(inside_t)){first, min64(begin + tiles * job->outputs[axis] * phases, inside) - first, first - begin};
}

/* A patch's first element of an array of the result's shape. */
static inline int64_t NAMED(patch_offset)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t first_row,
                                          int64_t first_column, int64_t filter, const int64_t *stride) {
    const int64_t h = patch->residue[0] + first_row * job->spacing[0];
    const int64_t w = patch->residue[1] + first_column * job->spacing[1];
    return patch->image * stride[0] + filter * stride[1] + patch->plane * stride[2] + h * stride[3] + w * stride[4];
}

/* As finish_patch where phases are lanes: of one vector of them. */
static void NAMED(finish_lanes)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group, int64_t first,
                                REAL *products, int64_t plane, REAL *pixels) {
    const int64_t columns = patch->columns * job->outputs[1];
    if (!NAMED(transform_back)(job, patch, products + patch->tile * LANES, 0, plane, columns, pixels))
        job->spoiled[patch->image] = 1;
    NAMED(scatter_lanes)(job, patch, group, first, columns, pixels);
}

/* The results of a patch for one vector of filters, from the products of its phases, `phase_size` elements each. */
static void NAMED(finish_patch)(const winograd_job_t *job, const winograd_patch_t *patch, int64_t group, int64_t filter,
                                REAL *products, int64_t phase_size, int64_t plane, REAL *pixels) {
    const correlation_t *c = &job->correlation;
    const epilogue_t *e = &job->epilogue;
    const int64_t filters = min64(LANES, c->filters - filter), all = group * c->filters + filter;
    const NAMED(inside_t) h = NAMED(inside_of)(job, patch, 0, patch->rows);
    const NAMED(inside_t) w = NAMED(inside_of)(job, patch, 1, patch->columns);
    /* What lies beyond the width must not overwrite another phase. */
    const int64_t width = winograd_result_phases(job) == 1 ? w.skipped + w.count
                                                           : patch->columns * job->outputs[1] * job->result_phases[1];
    const int64_t row_stride = c->result_stride[3] * job->spacing[0], stride = c->result_stride[4] * job->spacing[1];
    const int64_t add_row_stride = e->add_stride[3] * job->spacing[0], add_stride = e->add_stride[4] * job->spacing[1];
    int64_t rows = h.count, run = w.count;
    REAL *result = (REAL *)c->result + NAMED(patch_offset)(job, patch, h.first, w.first, all, c->result_stride);
    const REAL *add =
        e->add == NULL ? NULL
                       : (const REAL *)e->add + NAMED(patch_offset)(job, patch, h.first, w.first, all, e->add_stride);
    if (rows <= 0 || run <= 0) return; /* of the largest plane's tiles this one has fewer */
    if (!NAMED(transform_back)(job, patch, products + patch->tile * LANES, phase_size, plane, width, pixels))
        job->spoiled[patch->image] = 1;
    /* Rows that follow each other in memory are one run. */
    if (run == width && row_stride == run * stride && (add == NULL || add_row_stride == run * add_stride)) {
        run *= rows;
        rows = 1;
    }
    for (int64_t row = 0; row < rows; row++) {
        REAL *target = result + row * row_stride;
        const REAL *line = pixels + ((h.skipped + row) * width + w.skipped) * LANES;
        NAMED(scatter_vectors)(line, run, filters, target, c->result_stride[1], stride);
        if (!NAMED(epilogue_is_empty)(e))
            NAMED(finish_pixels)(c, e, run, all, filters, target, stride,
                                 add == NULL ? NULL : add + row * add_row_stride, add_stride);
    }
}

/* A block of the reduction: `windows` of the source, `vectors` from vector `first` on of all `of`. */
typedef struct {
    int64_t windows, first, vectors, of;
} NAMED(depth_block_t);

static NAMED(depth_block_t) NAMED(reduction_block)(const winograd_job_t *job, int64_t window) {
    const int64_t phases = winograd_source_phases(job), all = winograd_windows(job, LANES);
    const int64_t windows = min64(job->depth, all - window);
    return (NAMED(depth_block_t)){windows, window * phases, windows * phases, all * phases};
}

/* What a point needs: tiles, and vectors of a block of the reduction, from vector `first` of it on. */
typedef struct {
    winograd_span_t tiles;
    int64_t first;
    NAMED(runs_t) runs;
    int64_t vectors;
    int64_t fetch; /* elements of the weights to come, per vector */
} NAMED(needs_t);

static NAMED(needs_t) NAMED(needs_of)(const winograd_job_t *job, const winograd_tiles_t *tiles, winograd_point_t point,
                                      const NAMED(depth_block_t) *block) {
    const winograd_span_t span = winograd_tiles_of_point(job, tiles, point);
    const winograd_span_t phases = winograd_vectors_of_point(job, point, 1); /* of every window */
    const int64_t run = phases.last - phases.first, vectors = run * block->windows,
                  skip = winograd_source_phases(job) - run;
    const int64_t groups = div_up(span.last, TILE_ROWS) - span.first / TILE_ROWS;
    return (NAMED(needs_t)){
        .tiles = span,
        .first = phases.first,
        .runs = skip == 0 ? (NAMED(runs_t)){vectors, 1, 0} : (NAMED(runs_t)){run, block->windows, skip},
        .vectors = vectors,
        .fetch = round_up(div_up(block->vectors * LANES * TILE_COLUMNS, max64(groups * vectors, 1)), 64 / REAL_BYTES),
    };
}

/* Products of one point, one panel and one block of the reduction: those of the tiles that need the point, zeros for
 * the others of `all`. `next`: the weights that come then; `ahead`: what else is asked for meanwhile. */
static void NAMED(multiply_tiles)(const NAMED(needs_t) *needs, int64_t all, const NAMED(depth_block_t) *block,
                                  const REAL *source, const REAL *weights, const REAL *next, REAL *products,
                                  prefetch_t *ahead) {
    const winograd_span_t span = needs->tiles;
    const int64_t first = needs->first;
    const int accumulates = block->first > 0;
    for (int v = 0; v < TILE_VECTORS && !accumulates; v++) {
        NAMED(zero_line)(products + v * all * LANES, span.first * LANES);
        NAMED(zero_line)(products + (v * all + span.last) * LANES, (all - span.last) * LANES);
    }
    for (int64_t tile = span.first, end; tile < span.last; tile = end, next += needs->fetch * needs->vectors) {
        const int64_t group = tile / TILE_ROWS * TILE_ROWS, height = min64(TILE_ROWS, all - group);
        end = min64(group + height, span.last);
        for (int i = 0; i < 2; i++) ask_for_share(&ahead[i]);
        NAMED(winograd_tiles)
        [end - tile](needs->runs, source + NAMED(tile_offset)(tile, all, block->first + first, block->of),
                     height *LANES, weights + first *LANES *TILE_COLUMNS, accumulates, products + tile *LANES,
                     all *LANES, next, needs->fetch);
    }
}

/* Products of all points: the transformed tiles of a point stay in L2 while panels of weights, `size` elements each,
 * stream past. `weights` begin at the block of the first of the panels, as `products` do. */
static void NAMED(multiply_points)(const winograd_job_t *job, int64_t panels, const winograd_tiles_t *tiles,
                                   const NAMED(depth_block_t) *block, const REAL *source, int64_t source_plane,
                                   const REAL *weights, int64_t weight_plane, int64_t size, REAL *products,
                                   int64_t product_plane, prefetch_t *ahead) {
    const int64_t all = tiles->first[4];
    for (int64_t point = 0; point < winograd_points(job); point++) {
        const winograd_point_t at = winograd_point(job, point);
        const NAMED(needs_t) needs = NAMED(needs_of)(job, tiles, at, block);
        for (int64_t panel = 0; panel < panels; panel++) {
            const REAL *b = weights + point * weight_plane + panel * size;
            const REAL *next = panel + 1 < panels ? b + size : weights + (point + 1) * weight_plane;
            REAL *c = products + point * product_plane + panel * TILE_COLUMNS * all;
            if (winograd_panel_has(job, panel, at))
                NAMED(multiply_tiles)(&needs, all, block, source + point * source_plane, b, next, c, ahead);
            else if (block->first == 0)
                NAMED(zero_line)(c, TILE_COLUMNS * all);
        }
    }
}

/* The results of tiles for `count` filters from `filter` on, where the products begin. */
static void NAMED(finish_tiles)(const winograd_job_t *job, int64_t group, const winograd_tiles_t *tiles, int64_t filter,
                                int64_t count, REAL *products, int64_t plane, REAL *pixels) {
    const int64_t all = tiles->first[4], phases = winograd_result_phases(job);
    winograd_patch_t patch = winograd_before_patches(tiles);
    while (winograd_next_patch(job, tiles, job->block[0], &patch))
        for (int64_t i = 0; i < count; i += LANES) {
            REAL *of_vector = products + (i / TILE_COLUMNS * TILE_COLUMNS * phases + i % TILE_COLUMNS) * all;
            if (winograd_result_lanes(job) > 1)
                NAMED(finish_lanes)(job, &patch, group, filter + i, of_vector, plane, pixels);
            else
                NAMED(finish_patch)(job, &patch, group, filter + i, of_vector, TILE_COLUMNS * all, plane, pixels);
        }
}

/* Of an array that the outer caches do not hold anyway; more at a time would displace the transformed tiles from L2. */
#ifndef MAX_BYTES_AHEAD
#define MAX_BYTES_AHEAD (1 << 19)
#define MIN_ARRAY_BYTES (5 << 19)
#endif

/* The tiles of one block of a group. */
static winograd_tiles_t NAMED(block_tiles)(const winograd_job_t *job, int64_t block) {
    const int64_t column_blocks = div_up(job->tiles[1], job->block[1]);
    const int64_t row = block / column_blocks * job->block[0], column = block % column_blocks * job->block[1];
    return winograd_tiles(job, row, min64(row + job->block[0], winograd_tile_rows(job)), column,
                          min64(column + job->block[1], job->tiles[1]));
}

/* What lies under the tiles of a block in its first plane: pixels from tile * size + origin on, `overlap` more than
 * that. Only where a row of pixels is one run of memory; other layouts gain nothing. */
static prefetch_t NAMED(under_tiles)(const winograd_job_t *job, const winograd_tiles_t *tiles, const char *array,
                                     const int64_t *stride, const int64_t *plane, int64_t channels,
                                     const int64_t *phases, const int64_t *origin, int64_t overlap) {
    const int64_t image = tiles->row / job->tiles[0], row = tiles->row % job->tiles[0];
    const int64_t begin[2] = {row, tiles->column};
    const int64_t end[2] = {min64(row + tiles->last_row - tiles->row, job->tiles[0]), tiles->last_column};
    int64_t first[2], count[2];
    for (int axis = 0; axis < 2; axis++) {
        const int64_t size = job->outputs[axis] * phases[axis];
        first[axis] = max64(begin[axis] * size + origin[axis], 0);
        count[axis] = min64(end[axis] * size + origin[axis] + overlap, plane[1 + axis]) - first[axis];
    }
    const int64_t bytes = count[1] * channels * REAL_BYTES, all = count[0] * bytes;
    const int64_t of_array = job->correlation.batch * plane[1] * plane[2] * channels * REAL_BYTES;
    if (stride[1] != 1 || stride[4] != channels || job->classes[0] * job->classes[1] > 1 || plane[0] > 1 ||
        job->correlation.groups > 1 || count[1] <= 0 || all > MAX_BYTES_AHEAD || of_array < MIN_ARRAY_BYTES)
        return (prefetch_t){.runs = 0};
    const int64_t offset = image * stride[0] + first[0] * stride[3] + first[1] * stride[4];
    const int64_t calls = winograd_points(job) * winograd_panels(job, TILE_COLUMNS);
    return (prefetch_t){
        .run = array + offset * REAL_BYTES,
        .step = stride[3] * REAL_BYTES,
        .runs = count[0],
        .lines = div_up(bytes, LINE_BYTES),
        .share = div_up(div_up(all, LINE_BYTES), calls * div_up(tiles->first[4], TILE_ROWS)),
    };
}

/* From source to result: one block of tiles, all filters of a group. Meanwhile the pixels of the next one are asked
 * for, and where its own results go. */
static void NAMED(block)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const correlation_t *c = &job->correlation;
    const int64_t blocks = winograd_block_items(job) / c->groups, group = item / blocks;
    const int64_t panels = winograd_panels(job, TILE_COLUMNS), reduction = winograd_reduction(job, LANES);
    const winograd_tiles_t tiles = NAMED(block_tiles)(job, item % blocks);
    const winograd_tiles_t next = NAMED(block_tiles)(job, min64(item % blocks + 1, blocks - 1));
    const int64_t count = tiles.first[4];
    const int64_t source_plane = winograd_plane(count * reduction);
    const int64_t weight_plane = winograd_plane(panels * TILE_COLUMNS * reduction);
    const int64_t product_plane = winograd_plane(count * panels * TILE_COLUMNS);
    const REAL *weights = (const REAL *)job->packed + group * winograd_packed_size(job, TILE_COLUMNS, LANES);
    REAL *source = (REAL *)scratch, *products = source + winograd_points(job) * source_plane;
    REAL *pixels = products + winograd_points(job) * product_plane;
    prefetch_t ahead[2] = {
        NAMED(under_tiles)(job, &next, c->source, c->source_stride, c->source_size, c->channels, job->source_phases,
                           c->first + 1, job->tile_size[0]),
        NAMED(under_tiles)(job, &tiles, c->result, c->result_stride, c->pixels, c->filters, job->result_phases,
                           job->origin, 0),
    };
    winograd_patch_t patch = winograd_before_patches(&tiles);
    while (winograd_next_patch(job, &tiles, job->block[0], &patch))
        for (int64_t window = 0; window < winograd_windows(job, LANES); window++)
            NAMED(transform_patch)(job, &patch, group, window, count, source, source_plane, pixels);
    const NAMED(depth_block_t) whole = NAMED(reduction_block)(job, 0);
    NAMED(multiply_points)(job, panels, &tiles, &whole, source, source_plane, weights, weight_plane,
                           reduction * TILE_COLUMNS, products, product_plane, ahead);
    NAMED(finish_tiles)(job, group, &tiles, 0, winograd_filters(job), products, product_plane, pixels);
}

/* With panels: one window of the transformed source. */
static void NAMED(source)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const winograd_tiles_t tiles = winograd_tiles(job, 0, winograd_tile_rows(job), 0, job->tiles[1]);
    const int64_t windows = winograd_windows(job, LANES), group = item / windows, count = tiles.first[4];
    REAL *target = (REAL *)job->transformed + group * winograd_transformed_size(job, LANES);
    winograd_patch_t patch = winograd_before_patches(&tiles);
    while (winograd_next_patch(job, &tiles, job->block[0], &patch))
        NAMED(transform_patch)(job, &patch, group, item % windows, count, target,
                               winograd_plane(count * winograd_reduction(job, LANES)), (REAL *)scratch);
}

/* With panels: from the transformed source to the result, all tiles, some panels of filters. Weights that are not
 * packed are transformed here, so that they never leave the cache. */
static void NAMED(panel)(const void *data, int64_t item, void *scratch) {
    const winograd_job_t *job = (const winograd_job_t *)data;
    const int64_t all = winograd_phase_panels(job, TILE_COLUMNS), items = div_up(all, job->panels);
    const int64_t phases = winograd_result_phases(job), group = item / items, first = item % items * job->panels;
    const int64_t count = min64(job->panels, all - first), panels = count * phases;
    const winograd_tiles_t tiles = winograd_tiles(job, 0, winograd_tile_rows(job), 0, job->tiles[1]);
    const int64_t filter = first * TILE_COLUMNS;
    const int64_t reduction = winograd_reduction(job, LANES);
    const int64_t source_plane = winograd_plane(tiles.first[4] * reduction);
    const int64_t product_plane = winograd_plane(tiles.first[4] * panels * TILE_COLUMNS);
    const REAL *source = (const REAL *)job->transformed + group * winograd_transformed_size(job, LANES);
    REAL *products = (REAL *)scratch, *pixels = products + winograd_points(job) * product_plane;
    REAL *made = pixels + winograd_patch_size(job, LANES);
    for (int64_t window = 0; window < winograd_windows(job, LANES); window += job->depth) {
        const NAMED(depth_block_t) block = NAMED(reduction_block)(job, window);
        prefetch_t ahead[2] = {{.runs = 0}, {.runs = 0}};
        int64_t weight_plane = winograd_plane(all * phases * TILE_COLUMNS * reduction), size = reduction * TILE_COLUMNS;
        const REAL *weights = made;
        if (job->packed != NULL) {
            weights = (const REAL *)job->packed + group * winograd_packed_size(job, TILE_COLUMNS, LANES) +
                      filter * phases * reduction + block.first * LANES * TILE_COLUMNS;
        } else {
            size = block.vectors * LANES * TILE_COLUMNS;
            weight_plane = winograd_plane(panels * size);
            for (int64_t i = 0; i < count; i++)
                for (int64_t j = 0; j < block.windows; j++) NAMED(transform_weights)
            (job, group, first + i, window + j, block.first, block.vectors, made + i * phases * size, weight_plane);
        }
        NAMED(multiply_points)(job, panels, &tiles, &block, source, source_plane, weights, weight_plane, size, products,
                               product_plane, ahead);
    }
    NAMED(finish_tiles)(job, group, &tiles, filter, min64(count * TILE_COLUMNS, winograd_filters(job) - filter),
                        products, product_plane, pixels);
}
