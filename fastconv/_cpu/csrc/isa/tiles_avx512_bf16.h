/* multiply_tiles by VDPBF16PS. Its float32 sums are rounded to nearest and subnormal ones become 0. */
#define TILE_LINES 7
/* Multiply-adds of bfloat16 a second over those of float32. */
#define SPLIT_RATE 2
#define SPLIT_SUM_ROUNDOFFS 0.7

ALWAYS_INLINE void begin_tiles(void) {}
ALWAYS_INLINE void end_tiles(void) {}

ALWAYS_INLINE __m512bh pair_of(const char *line, int64_t pair) {
    return (__m512bh)_mm512_set1_epi32(((const int32_t *)line)[pair]);
}

/* One piece of the source by one of the weights: 32 channels. */
ALWAYS_INLINE void add_products(__m512 sums[2][2 * TILE_LINES], const char *first, const char *second,
                                const char *weights) {
#pragma GCC unroll 2
    for (int64_t pair = 0; pair < 16; pair++) {
        const __m512bh low = (__m512bh)_mm512_load_si512(weights + pair * 64);
        const __m512bh high = (__m512bh)_mm512_load_si512(weights + 1024 + pair * 64);
#pragma GCC unroll 14
        for (int line = 0; line < 2 * TILE_LINES; line++) {
            const char *at = line < TILE_LINES ? first + line * 64 : second + (line - TILE_LINES) * 64;
            const __m512bh pixel = pair_of(at, pair);
            sums[0][line] = _mm512_dpbf16_ps(sums[0][line], pixel, low);
            sums[1][line] = _mm512_dpbf16_ps(sums[1][line], pixel, high);
        }
    }
}

ALWAYS_INLINE void multiply_by(const tiles_t *t, const int products, const signed char (*order)[2]) {
    const int64_t pieces = products == 1 ? 1 : products == 3 ? 2 : 3;
    __m512 sums[2][2 * TILE_LINES];
    for (int half = 0; half < 2; half++)
#pragma GCC unroll 14
        for (int line = 0; line < 2 * TILE_LINES; line++)
            sums[half][line] =
                t->goes_on ? _mm512_load_ps(t->sums + half * t->half_floats + line * 16) : _mm512_setzero_ps();
    const char *weights = t->weights;
    for (int64_t block = 0; block < t->blocks; block++)
        for (int64_t tap = 0; tap < t->taps; tap++, weights += pieces * 2048) {
            const int64_t at = block * t->block_bytes + t->tap_bytes[tap];
            const char *first = t->lines[0] + at, *second = t->lines[1] + at;
            for (int p = 0; p < products; p++) {
                const int64_t piece = order[p][0] * t->piece_bytes;
                add_products(sums, first + piece, second + piece, weights + order[p][1] * 2048);
            }
        }
    for (int half = 0; half < 2; half++)
#pragma GCC unroll 14
        for (int line = 0; line < 2 * TILE_LINES; line++)
            _mm512_store_ps(t->sums + half * t->half_floats + line * 16, sums[half][line]);
}

static void multiply_tiles(const tiles_t *t, int64_t products, split_store_t *store) {
    static const signed char one[1][2] = {{0, 0}};
    (void)store;
    if (products == 1)
        multiply_by(t, 1, one);
    else if (products == 3)
        multiply_by(t, 3, SPLIT_ORDER_3);
    else
        multiply_by(t, 6, SPLIT_ORDER_6);
}
