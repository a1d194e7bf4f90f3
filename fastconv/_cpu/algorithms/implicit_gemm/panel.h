/* One column panel of a matrix product, register tile by register tile (tile.h):
 *
 *     target[i, j] (+)= sum over r of  a[i, r] * b[r, j],   any number of rows i,  j < TILE_COLUMNS,  r < depth
 *
 * Layout: rows are packed or looked up, in a band or in the weights, columns are a packed panel; the target lies at
 * constant strides or at the offsets of tables. Tiles that do not lie in rows of neighbours go by way of a buffer.
 * Preconditions and numerics are those of the tile. */

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

/* The rows of a product: packed panels, one behind the other, or elements of a band or of the weights. */
typedef struct {
    const REAL *base;
    int64_t count;      /* rows in all panels */
    int64_t width;      /* of every panel but the last */
    const int64_t *row; /* NULL: packed; else offsets of what is looked up */
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

/* The columns of a product: one packed panel of TILE_COLUMNS; beside rows that are looked up one of LANES, too, or of
 * `width` < LANES dot products with rows that run along the reduction (dot.h). Where `source` is set, row r of it
 * lies at source + offset[r], beside rows that are looked up at source + r * step, and is packed while the first rows
 * of the product are computed. */
typedef struct {
    REAL *panel;
    int64_t width;
    const REAL *source;
    const int64_t *offset;
    int64_t step;
    int asks_for_rows;    /* those of the next tile, which are read for the first time: they come closer meanwhile */
    NAMED(lines_t) ahead; /* what the next panel is packed from: it comes closer meanwhile */
    const REAL *next;     /* beside rows that are looked up: the next panel, where it is packed already, likewise */
    int64_t next_size;
} NAMED(column_operand_t);

/* Whether entries [first, first + count) lie one `stride` after the other. */
static inline int NAMED(is_even)(const int64_t *offset, int64_t stride, int64_t first, int64_t count) {
    if (offset != NULL)
        for (int64_t i = first + 1; i < first + count; i++)
            if (offset[i] - offset[i - 1] != stride) return 0;
    return 1;
}

/* min(max(tile + bias + add, low), high) on rows of `columns` neighbours, whole vectors. */
ALWAYS_INLINE void NAMED(clamp_tile)(const int bias_by_row, const int adds, REAL *tile, int64_t ld, int64_t rows,
                                     int64_t columns, const REAL *bias, int64_t bias_step, const REAL *add,
                                     int64_t add_ld, REAL low, REAL high) {
    const NAMED(vector) lowest = NAMED(splat)(low), highest = NAMED(splat)(high);
    for (int64_t i = 0; i < rows; i++, tile += ld) {
        const NAMED(vector) of_row = NAMED(splat)(bias_by_row ? bias[i * bias_step] : 0);
        for (int64_t j = 0; j < columns; j += LANES) {
            NAMED(vector) v = NAMED(load)(tile + j) + (bias_by_row ? of_row : NAMED(load)(bias + j));
            if (adds) v += NAMED(load)(add + j);
            NAMED(store)(tile + j, NAMED(at_most)(highest, NAMED(at_least)(lowest, v)));
        }
        if (adds) add += add_ld;
    }
}

/* The epilogue of a tile of whole vectors, where it is short enough: without a look at what it is for every row. */
static void NAMED(finish_whole)(const NAMED(target_t) *t, const NAMED(finish_t) *r) {
    const REAL none = (REAL)-0.0, *bias = r->bias == NULL ? &none : r->bias; /* x + -0 is x */
    REAL low, high;
    NAMED(is_clamp)(t->epilogue->activation, &low, &high);
    const int64_t step = r->bias == NULL ? 0 : r->bias_row_stride, ld = r->row_stride, add_ld = r->add_row_stride;
    if (r->bias != NULL && r->bias_stride != 0 && r->add != NULL)
        NAMED(clamp_tile)(0, 1, r->result, ld, r->rows, r->count, bias, 0, r->add, add_ld, low, high);
    else if (r->bias != NULL && r->bias_stride != 0)
        NAMED(clamp_tile)(0, 0, r->result, ld, r->rows, r->count, bias, 0, NULL, 0, low, high);
    else if (r->add != NULL)
        NAMED(clamp_tile)(1, 1, r->result, ld, r->rows, r->count, bias, step, r->add, add_ld, low, high);
    else
        NAMED(clamp_tile)(1, 0, r->result, ld, r->rows, r->count, bias, step, NULL, 0, low, high);
}

static inline void NAMED(finish_even)(const NAMED(target_t) *t, const NAMED(finish_t) *r) {
    REAL low, high;
    if (NAMED(is_clamp)(t->epilogue->activation, &low, &high) && r->count % LANES == 0 &&
        (r->add == NULL || r->add_stride == 1))
        NAMED(finish_whole)(t, r);
    else
        NAMED(finish_rows)(t->epilogue, r);
}

/* What is to be added to a tile comes closer while the tile is computed. */
static inline void NAMED(prefetch_added)(const NAMED(target_t) *t, int64_t row, int64_t rows, int64_t column,
                                         int64_t columns) {
    for (int64_t i = row; i < row + rows; i++) {
        const REAL *add = t->add + NAMED(at)(t->add_row_offset, t->add_row_stride, i);
        for (int64_t j = 0; j < columns; j += 64 / REAL_BYTES)
            __builtin_prefetch(add + NAMED(at)(t->add_column_offset, t->add_column_stride, column + j));
        __builtin_prefetch(add + NAMED(at)(t->add_column_offset, t->add_column_stride, column + columns - 1));
    }
}

/* The epilogue of a tile in memory, rows `ld` apart. */
static void NAMED(finish_tile)(const NAMED(target_t) *t, REAL *tile, int64_t ld, int64_t row, int64_t rows,
                               int64_t column, int64_t columns) {
    const int64_t *row_offset = t->add_row_offset, *column_offset = t->add_column_offset;
    REAL added[TILE_COLUMNS];
    NAMED(finish_t) r = {.rows = rows,
                         .count = columns,
                         .result = tile,
                         .row_stride = ld,
                         .stride = 1,
                         .bias = t->bias == NULL ? NULL : t->bias + (t->bias_by_row ? row : column),
                         .bias_row_stride = t->bias_by_row,
                         .bias_stride = !t->bias_by_row};
    if (t->add == NULL) {
        NAMED(finish_even)(t, &r);
        return;
    }
    r.add =
        t->add + NAMED(at)(row_offset, t->add_row_stride, row) + NAMED(at)(column_offset, t->add_column_stride, column);
    r.add_row_stride = row_offset == NULL ? t->add_row_stride : rows > 1 ? row_offset[row + 1] - row_offset[row] : 0;
    r.add_stride = column_offset == NULL ? t->add_column_stride
                   : columns > 1         ? column_offset[column + 1] - column_offset[column]
                                         : 1;
    if (NAMED(is_even)(row_offset, r.add_row_stride, row, rows) &&
        NAMED(is_even)(column_offset, r.add_stride, column, columns)) {
        NAMED(finish_even)(t, &r);
        return;
    }
    r.rows = r.add_stride = 1;
    r.add = added;
    for (int64_t i = 0; i < rows; i++, r.result += ld) {
        const REAL *add = t->add + NAMED(at)(row_offset, t->add_row_stride, row + i);
        for (int64_t j = 0; j < columns; j++)
            added[j] = add[NAMED(at)(column_offset, t->add_column_stride, column + j)];
        NAMED(finish_rows)(t->epilogue, &r);
        if (t->bias != NULL) r.bias += r.bias_row_stride;
    }
}

/* The multiply-adds of one register tile, and its end if there is one: `next_step` elements of the next panel come
 * closer with each. */
static inline void NAMED(run_tile)(const NAMED(row_operand_t) *a, const NAMED(column_operand_t) *b, int64_t depth,
                                   int64_t row, int64_t rows, int64_t next_step, REAL *c, int64_t ldc, int accumulate,
                                   const NAMED(tile_end_t) *end) {
    const int64_t below = row + a->width;
    NAMED(tile_t)
    t = {.depth = depth,
         .a = a->base,
         .entry = a->entry,
         .ahead = b->asks_for_rows && below < a->count ? a->row[below] - a->row[row] : 0,
         .source = b->source,
         .step = b->step,
         .b = b->panel,
         .next = next_step == 0 ? b->panel : b->next + row / a->width * depth * next_step,
         .next_step = next_step,
         .c = c,
         .ldc = ldc,
         .accumulate = accumulate,
         .end = end};
    if (b->width < LANES) {
        NAMED(dots)(rows, b->width, depth, a->base + *a->entry, a->row + row, b->panel, c, ldc, accumulate);
    } else if (a->row != NULL) {
        t.row = a->row + row;
        (b->width == LANES   ? NAMED(narrow_tiles)
         : b->source != NULL ? NAMED(packing_lookup_tiles)
                             : NAMED(lookup_tiles))[rows](&t);
    } else {
        t.a += row * depth;
        t.entry = b->offset;
        (b->source != NULL ? NAMED(packing_tiles) : NAMED(tiles))[rows](&t);
    }
}

/* The epilogue of a tile of whole vectors that lie in rows of neighbours: whether it is one for registers. */
static inline int NAMED(tile_end)(const NAMED(target_t) *t, int64_t row, int64_t rows, int64_t column, int64_t columns,
                                  NAMED(tile_end_t) *end) {
    static const REAL none = (REAL)-0.0; /* x + -0 is x */
    *end = (NAMED(tile_end_t)){.bias = t->bias == NULL ? &none : t->bias + (t->bias_by_row ? row : column),
                               .bias_step = t->bias != NULL,
                               .bias_by_row = t->bias == NULL || t->bias_by_row};
    if (!NAMED(is_clamp)(t->epilogue->activation, &end->low, &end->high) || columns % LANES != 0) return 0;
    if (t->add == NULL) return 1;
    const int64_t *row_offset = t->add_row_offset, *column_offset = t->add_column_offset;
    end->add =
        t->add + NAMED(at)(row_offset, t->add_row_stride, row) + NAMED(at)(column_offset, t->add_column_stride, column);
    end->add_ld = row_offset == NULL ? t->add_row_stride : rows > 1 ? row_offset[row + 1] - row_offset[row] : 0;
    return (column_offset != NULL || t->add_column_stride == 1) && NAMED(is_even)(row_offset, end->add_ld, row, rows) &&
           NAMED(is_even)(column_offset, 1, column, columns);
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
    if (t->column_offset == NULL) {
        *run = (NAMED(column_run_t)){0, columns, column * t->column_stride, columns > 1 ? t->column_stride : 1};
        return 1;
    }
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
    NAMED(run_tile)(a, b, depth, row, rows, 0, tile, TILE_COLUMNS, 0, NULL);
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
    const int columns_even = runs == 1 && columns == b.width && run[0].stride == 1;
    const int finish = last && t->epilogue != NULL;
    const int64_t steps = max64(depth, 1) * max64(div_up(a->count, a->width), 1);
    const int64_t next_step = b.next == NULL ? 0 : div_up(b.next_size, steps);
    for (int64_t row = begin; row < end; row += a->width, b.source = NULL) {
        const int64_t rows = min64(a->width, a->count - row);
        const int64_t spacing = t->row_offset == NULL ? t->row_stride
                                : rows > 1            ? t->row_offset[row + 1] - t->row_offset[row]
                                                      : 0;
        const int rows_even = NAMED(is_even)(t->row_offset, spacing, row, rows);
        NAMED(look_ahead)(&b.ahead, row - begin, row - begin + rows, end - begin);
        if (finish && t->add != NULL) NAMED(prefetch_added)(t, row, rows, column, columns);
        if (!rows_even || !columns_even) {
            NAMED(buffer_tile)(t, a, &b, depth, row, rows, spacing, rows_even, column, columns, run, runs, accumulate,
                               finish);
            continue;
        }
        REAL *target = t->base + NAMED(at)(t->row_offset, t->row_stride, row) + run[0].offset;
        NAMED(tile_end_t) end;
        const int ends = finish && NAMED(tile_end)(t, row, rows, column, columns, &end);
        NAMED(run_tile)(a, &b, depth, row, rows, next_step, target, spacing, accumulate, ends ? &end : NULL);
        if (finish && !ends) NAMED(finish_tile)(t, target, spacing, row, rows, column, columns);
    }
}
