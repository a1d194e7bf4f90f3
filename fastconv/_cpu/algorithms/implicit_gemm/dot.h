/* Single columns of a matrix product, as dot products: vectors run along the reduction.
 *
 *     c[i][j] (+)= sum over r of  a[i, r] * b[j][r],   j < columns <= MAX_DOTS,  r < depth
 *
 * Layout: rows of a run along the reduction, where they lie; b is packed [columns][depth]. Nothing behind a row is
 * read. Numerics: LANES chains of multiply-adds an element, added by halves (of LANES elements at once); with
 * `accumulate` the sum is added to c.
 */
#define MAX_DOTS (LANES / 4)

/* Halves of two vectors' runs of `run` lanes: the first halves of both, or the second ones. */
ALWAYS_INLINE NAMED(vector) NAMED(halves)(NAMED(vector) a, NAMED(vector) b, const int run, const int second) {
    NAMED(lane_index) which;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        which[i] = i % run / (run / 2) * LANES + i / run * run + second * (run / 2) + i % (run / 2);
    return NAMED(shuffle)(a, b, which);
}

ALWAYS_INLINE void NAMED(add_halves)(NAMED(vector) *sum, const int run) {
#pragma GCC unroll 8
    for (int i = 0; i < run / 2; i++) {
        const NAMED(vector) a = sum[i], b = sum[i + run / 2];
        sum[i] = NAMED(halves)(a, b, run, 0) + NAMED(halves)(a, b, run, 1);
    }
}

/* The sum of the lanes of every one of LANES vectors, in the lane of its number. */
ALWAYS_INLINE NAMED(vector) NAMED(lane_sums)(NAMED(vector) *sum) {
    if (LANES >= 16) NAMED(add_halves)(sum, 16);
    if (LANES >= 8) NAMED(add_halves)(sum, 8);
    if (LANES >= 4) NAMED(add_halves)(sum, 4);
    NAMED(add_halves)(sum, 2);
    return sum[0];
}

/* Sums of `rows` rows [row][column], lane by lane. Few rows at a time: more would share a set of the first-level cache
 * where they are a power of two apart. */
ALWAYS_INLINE void NAMED(sum_rows)(const int rows, const int columns, int64_t depth, const REAL *const *line,
                                   const REAL *b, NAMED(vector) *sum) {
    const int64_t whole = depth / LANES * LANES, last = max64(depth - LANES, 0);
    NAMED(lane_index) rest;
    for (int i = 0; i < LANES; i++) rest[i] = last + i >= whole ? -1 : 0;
#pragma GCC unroll 16
    for (int i = 0; i < rows * columns; i++) sum[i] = (NAMED(vector)){0};
    for (int64_t r = 0; r < whole; r += LANES)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            NAMED(vector) factor = NAMED(load)(b + j * depth + r);
            LOADED_ONCE(factor);
#pragma GCC unroll 5
            for (int i = 0; i < rows; i++) sum[i * columns + j] += NAMED(load)(line[i] + r) * factor;
        }
    /* What is left, in vectors that begin early, without what has been added: of either factor, for infinity times 0
     * is none. */
    if (whole > 0 && whole < depth)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            const NAMED(lane_index) factor = (NAMED(lane_index))NAMED(load)(b + j * depth + last) & rest;
#pragma GCC unroll 5
            for (int i = 0; i < rows; i++) {
                const NAMED(lane_index) left = (NAMED(lane_index))NAMED(load)(line[i] + last) & rest;
                sum[i * columns + j] += (NAMED(vector))left * (NAMED(vector))factor;
            }
        }
}

/* The first `valid` of LANES / columns rows; the others repeat the last one. */
ALWAYS_INLINE void NAMED(dots_of)(const int columns, int64_t valid, int64_t depth, const REAL *a, const int64_t *row,
                                  const REAL *b, REAL *c, int64_t ldc, int accumulate) {
    const int rows = LANES / columns, some = columns == 3 ? rows : 4;
    const REAL *line[LANES];
    NAMED(vector) sum[LANES] = {{0}};
    REAL total[LANES];
    for (int i = 0; i < rows; i++) line[i] = a + row[min64(i, valid - 1)];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += some)
        if (i < valid) NAMED(sum_rows)(some, columns, depth, line + i, b, sum + i * columns);
    NAMED(store)(total, NAMED(lane_sums)(sum));
    for (int64_t i = 0; i < valid; i++)
        for (int j = 0; j < columns; j++) {
            REAL value = total[i * columns + j];
            for (int64_t r = 0; r < depth && depth < LANES; r++) value += line[i][r] * b[j * depth + r];
            c[i * ldc + j] = accumulate ? c[i * ldc + j] + value : value;
        }
}

/* Any number of rows: as many at a time as fill a vector with totals. */
static void NAMED(dots)(int64_t rows, int64_t columns, int64_t depth, const REAL *a, const int64_t *row, const REAL *b,
                        REAL *c, int64_t ldc, int accumulate) {
#define DOTS(columns)                                                                                                  \
    for (int64_t i = 0; (columns) <= MAX_DOTS && i < rows; i += LANES / (columns))                                     \
        NAMED(dots_of)(columns, min64(rows - i, LANES / (columns)), depth, a, row + i, b, c + i * ldc, ldc,            \
                       accumulate);                                                                                    \
    break
    switch (columns) {
    case 1: DOTS(1);
    case 2: DOTS(2);
    case 3: DOTS(3);
    default: DOTS(4);
    }
#undef DOTS
}
