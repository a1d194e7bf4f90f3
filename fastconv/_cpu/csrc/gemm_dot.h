/* Single columns of a matrix product, as dot products: vectors run along the reduction.
 *
 *     c[i][j] (+)= sum over r of  a[i, r] * b[j][r],   j < columns <= MOST_DOTS,  r < depth
 *
 * Layout: rows of a run along the reduction, where they lie; b is packed [columns][depth]. Nothing behind a row is
 * read. Numerics: LANES chains of multiply-adds an element, added by halves; with `accumulate` the sum is added to c.
 */
#define MOST_DOTS (LANES / 4)
#define DOT_ROWS 4

ALWAYS_INLINE void NAMED(dots_of)(const int rows, const int columns, int64_t depth, const REAL *a, const int64_t *row,
                                  const REAL *b, REAL *c, int64_t ldc, int accumulate) {
    NAMED(vector) sum[DOT_ROWS][4];
    const int64_t whole = depth / LANES * LANES, last = max64(depth - LANES, 0);
    NAMED(lane_index) rest;
    for (int i = 0; i < LANES; i++) rest[i] = last + i >= whole ? -1 : 0;
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) sum[i][j] = (NAMED(vector)){0};
    for (int64_t r = 0; r < whole; r += LANES) {
        NAMED(vector) factor[DOT_ROWS];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) factor[i] = *(const NAMED(unaligned) *)(a + row[i] + r);
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            NAMED(vector) line = *(const NAMED(unaligned) *)(b + j * depth + r);
            LOADED_ONCE(line);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) sum[i][j] += factor[i] * line;
        }
    }
    /* What is left, in vectors that begin early, without what has been added. */
    if (whole > 0 && whole < depth)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            const NAMED(lane_index) line = (NAMED(lane_index))NAMED(load)(b + j * depth + last) & rest;
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) sum[i][j] += NAMED(load)(a + row[i] + last) * (NAMED(vector))line;
        }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            REAL total = NAMED(lane_sum)(sum[i][j]);
            for (int64_t r = 0; r < depth && whole == 0; r++) total += a[row[i] + r] * b[j * depth + r];
            c[i * ldc + j] = accumulate ? c[i * ldc + j] + total : total;
        }
}

/* Any number of rows. */
static void NAMED(dots)(int64_t rows, int64_t columns, int64_t depth, const REAL *a, const int64_t *row, const REAL *b,
                        REAL *c, int64_t ldc, int accumulate) {
#define ROWS(columns)                                                                                                  \
    if (rows - i >= DOT_ROWS)                                                                                          \
        NAMED(dots_of)(DOT_ROWS, columns, depth, a, row + i, b, c + i * ldc, ldc, accumulate);                         \
    else                                                                                                               \
        for (int64_t k = i; k < rows; k++)                                                                             \
            NAMED(dots_of)(1, columns, depth, a, row + k, b, c + k * ldc, ldc, accumulate);                            \
    break
    for (int64_t i = 0; i < rows; i += DOT_ROWS) {
        switch (columns) {
        case 1: ROWS(1);
        case 2: ROWS(2);
        case 3: ROWS(3);
        default: ROWS(4);
        }
    }
#undef ROWS
}
