/* The tile instructions that isa/tiles_amx.h uses, in AVX-512: so that its code is tested on machines without AMX
 * (test_split_bf16.py). Registers as begin_tiles configures them: 8 of 16 rows of 64 bytes. */
static __thread struct {
    _Alignas(64) char row[16][64];
} emulated_tile[8];

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_release
#undef _tile_dpbf16ps
#define _tile_loadd(tile, from, step) emulate_load(tile, (const char *)(from), step)
#define _tile_stored(tile, to, step) emulate_store(tile, (char *)(to), step)
#define _tile_zero(tile) memset(&emulated_tile[tile], 0, sizeof emulated_tile[tile])
#define _tile_release() memset(emulated_tile, 0xff, sizeof emulated_tile)
#define _tile_dpbf16ps(sum, a, b) emulate_multiply(sum, a, b)

/* As the instruction does not, but as the kernels must: only whole cache lines are read. */
static void emulate_load(int tile, const char *from, int64_t step) {
    for (int row = 0; row < 16; row++)
        _mm512_store_si512(emulated_tile[tile].row[row], _mm512_load_si512(from + row * step));
}
static void emulate_store(int tile, char *to, int64_t step) {
    for (int row = 0; row < 16; row++)
        _mm512_store_si512(to + row * step, _mm512_load_si512(emulated_tile[tile].row[row]));
}
static void emulate_multiply(int sum, int a, int b) {
    const __m512i top = _mm512_set1_epi32((int)0xffff0000);
    for (int row = 0; row < 16; row++) {
        __m512 sums = _mm512_load_ps(emulated_tile[sum].row[row]);
        for (int pair = 0; pair < 16; pair++) {
            const __m512i left = _mm512_set1_epi32(((const int32_t *)emulated_tile[a].row[row])[pair]);
            const __m512i right = _mm512_load_si512(emulated_tile[b].row[pair]);
            sums = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(left, 16)),
                                   _mm512_castsi512_ps(_mm512_slli_epi32(right, 16)), sums);
            sums = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(left, top)),
                                   _mm512_castsi512_ps(_mm512_and_si512(right, top)), sums);
        }
        _mm512_store_ps(emulated_tile[sum].row[row], sums);
    }
}
