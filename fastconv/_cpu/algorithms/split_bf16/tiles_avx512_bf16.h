/* multiply_tiles_by with VDPBF16PS. Its float32 sums are rounded to nearest and subnormal ones become 0. */
#define TILE_LINES 7
/* Multiply-adds of bfloat16 a second over those of float32. */
#define SPLIT_RATE 2
#define SPLIT_SOURCE_BYTES (1 << 19)
#define SPLIT_SUM_ROUNDOFFS 0.7

ALWAYS_INLINE void begin_tiles(void) {}
ALWAYS_INLINE void end_tiles(void) {}

ALWAYS_INLINE __m512bh pair_of(const char *line, int64_t pair) {
    return (__m512bh)_mm512_set1_epi32(((const int32_t *)line)[pair]);
}

/* One piece by one piece: 16 pairs. Rows of pairs 64 bytes apart from `first` and `second` on, `rows` of each, by two
 * columns of vectors. Every index is a constant once the loops are unrolled: the sums are registers. */
ALWAYS_INLINE void add_products(__m512 sum[][2], const int rows, const char *first, const char *second,
                                const char *left, const char *right) {
    for (int64_t pair = 0; pair < 16; pair++) {
        const __m512bh low = (__m512bh)_mm512_load_si512(left + pair * 64);
        const __m512bh high = (__m512bh)_mm512_load_si512(right + pair * 64);
#pragma GCC unroll 14
        for (int row = 0; row < 2 * rows; row++) {
            const __m512bh value = pair_of(row < rows ? first + row * 64 : second + (row - rows) * 64, pair);
            sum[row][0] = _mm512_dpbf16_ps(sum[row][0], value, low);
            sum[row][1] = _mm512_dpbf16_ps(sum[row][1], value, high);
        }
    }
}

ALWAYS_INLINE void multiply_tiles_by(const tiles_t *t, split_store_t *store, const int products) {
    const int64_t pieces = PIECES_OF(products);
    const signed char (*order)[2] = SPLIT_ORDER(products);
    (void)store;
    float *const left = t->sums, *const right = t->sums + t->half_floats;
    __m512 sum[2 * TILE_LINES][2];
#pragma GCC unroll 14
    for (int line = 0; line < 2 * TILE_LINES; line++) sum[line][0] = sum[line][1] = _mm512_setzero_ps();
    const char *weights = t->weights;
    for (int64_t block = 0; block < t->blocks; block++)
        for (int64_t tap = 0; tap < t->taps; tap++, weights += pieces * 2048) {
            const int64_t at = block * t->block_bytes + t->tap_bytes[tap];
            const char *first = t->lines[0] + at, *second = t->lines[1] + at;
            for (int p = 0; p < products; p++) {
                const int64_t piece = order[p][0] * t->piece_bytes;
                const char *panel = weights + order[p][1] * 2048;
                add_products(sum, TILE_LINES, first + piece, second + piece, panel, panel + 1024);
            }
        }
#pragma GCC unroll 14
    for (int line = 0; line < 2 * TILE_LINES; line++) {
        if (t->goes_on) {
            sum[line][0] = _mm512_add_ps(_mm512_load_ps(left + line * 16), sum[line][0]);
            sum[line][1] = _mm512_add_ps(_mm512_load_ps(right + line * 16), sum[line][1]);
        }
        _mm512_store_ps(left + line * 16, sum[line][0]);
        _mm512_store_ps(right + line * 16, sum[line][1]);
    }
}

#define GRADIENT_ROWS 4 /* twice: 8 filters at once */

ALWAYS_INLINE void multiply_gradient_by(const gradient_tiles_t *t, const int products) {
    const int64_t pieces = PIECES_OF(products);
    const signed char (*order)[2] = SPLIT_ORDER(products);
    for (int64_t filter = 0; filter < 32; filter += 2 * GRADIENT_ROWS) {
        const char *gradient = t->gradient[filter / 16] + filter % 16 * 64;
        __m512 sum[2 * GRADIENT_ROWS][2];
#pragma GCC unroll 8
        for (int row = 0; row < 2 * GRADIENT_ROWS; row++) sum[row][0] = sum[row][1] = _mm512_setzero_ps();
        for (int64_t tile = 0; tile < t->count; tile++, gradient += pieces * 1024)
            for (int p = 0; p < products; p++) {
                const int64_t at = t->tiles[tile] + order[p][0] * t->piece_bytes;
                const char *rows = gradient + order[p][1] * 1024;
                add_products(sum, GRADIENT_ROWS, rows, rows + GRADIENT_ROWS * 64, t->lines[0] + at, t->lines[1] + at);
            }
        float *totals = t->totals + filter / 16 * 512 + filter % 16 * 16;
#pragma GCC unroll 8
        for (int row = 0; row < 2 * GRADIENT_ROWS; row++, totals += 16) {
            if (t->goes_on) {
                sum[row][0] = _mm512_add_ps(_mm512_load_ps(totals), sum[row][0]);
                sum[row][1] = _mm512_add_ps(_mm512_load_ps(totals + 256), sum[row][1]);
            }
            _mm512_store_ps(totals, sum[row][0]);
            _mm512_store_ps(totals + 256, sum[row][1]);
        }
    }
}
