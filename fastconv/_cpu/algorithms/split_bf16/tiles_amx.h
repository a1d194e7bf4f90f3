/* multiply_tiles_by with TDPBF16PS: 16 lines of 32 channels by 32 channels of 16 filters at a time.
 *
 * Preconditions: lines and weights are aligned to 64 bytes (a tile load that crosses cache lines takes six times as
 * long). Numerics: subnormal numbers are taken as and become 0. Registers: 0 to 3 sums (lines 0, 1 by halves 0, 1 of
 * the filters), 4, 5 lines, 6, 7 weights. */
#ifdef EMULATED_TILES
#include "emulated_tiles.h"
#endif

#define TILE_LINES 16
#define SPLIT_RATE 11.8 /* on random data: the clock gives way */
#define SPLIT_SOURCE_BYTES (1 << 20)
#ifdef EMULATED_TILES
#define SPLIT_SUM_ROUNDOFFS 0.7 /* as of single multiply-adds */
#else
#define SPLIT_SUM_ROUNDOFFS 0.22
#endif
/* Units are stored while tiles are multiplied: the vector unit is idle then. */
#define STORES_BETWEEN_STEPS

/* A tile store after a long time without one takes as long as 40 multiplications. */
#define STEPS_BETWEEN_STORES(products) ((products) == 1 ? 16 : (products) == 3 ? 6 : 3)

/* The intrinsics of tile loads do not tell the compiler that they read memory. */
#define WRITTEN_BEFORE_TILES_ARE_LOADED __asm__ volatile("" ::: "memory")

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config_t;

static __attribute__((noinline)) void begin_tiles(void) {
    tile_config_t config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) config.row_bytes[tile] = 64, config.rows[tile] = 16;
#ifndef EMULATED_TILES
    /* Not the intrinsic: some compilers tell it that it reads 8 bytes, and drop the other stores. */
    __asm__ volatile("ldtilecfg %0" ::"m"(config) : "memory");
#else
    (void)config;
#endif
}

static void end_tiles(void) { _tile_release(); }

/* Two operands of two tiles each, their pieces so many bytes apart. */
typedef struct {
    const char *first, *second;
    int64_t piece;
} operand_t;

/* All products of one tile of each. The order is that of SPLIT_ORDER_3 and SPLIT_ORDER_6, `a` being the source. */
ALWAYS_INLINE void multiply_step(const operand_t a, const operand_t b, const int products) {
#define LOAD_A(number)                                                                                                 \
    _tile_loadd(4, a.first + (number) * a.piece, 64);                                                                  \
    _tile_loadd(5, a.second + (number) * a.piece, 64);
#define LOAD_B(number)                                                                                                 \
    _tile_loadd(6, b.first + (number) * b.piece, 64);                                                                  \
    _tile_loadd(7, b.second + (number) * b.piece, 64);
#define MULTIPLY /* the intrinsics take digits, not expressions */                                                     \
    _tile_dpbf16ps(0, 4, 6);                                                                                           \
    _tile_dpbf16ps(1, 4, 7);                                                                                           \
    _tile_dpbf16ps(2, 5, 6);                                                                                           \
    _tile_dpbf16ps(3, 5, 7);
    const int smallest = products == 1 ? 0 : products == 3 ? 1 : 2;
    _tile_loadd(4, a.first + smallest * a.piece, 64);
    _tile_loadd(6, b.first, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, a.second + smallest * a.piece, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(7, b.second, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
    if (products == 1) return;
    if (products == 6) {
        LOAD_A(1) MULTIPLY;
        LOAD_B(1) MULTIPLY;
        LOAD_A(0) MULTIPLY;
        LOAD_B(0) MULTIPLY;
        LOAD_B(2) MULTIPLY;
        return;
    }
    _tile_loadd(4, a.first, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a.second, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(6, b.first + b.piece, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(7, b.second + b.piece, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
#undef LOAD_A
#undef LOAD_B
#undef MULTIPLY
}

ALWAYS_INLINE void multiply_tiles_by(const tiles_t *t, split_store_t *store, const int products) {
    const int64_t pieces = PIECES_OF(products), steps = t->blocks * t->taps;
    _Alignas(64) char unread[1024];
    WRITTEN_BEFORE_TILES_ARE_LOADED;
    float *first = t->sums, *second = t->sums + TILE_LINES * 16;
    if (t->goes_on) {
        _tile_loadd(0, first, 64);
        _tile_loadd(1, first + t->half_floats, 64);
        _tile_loadd(2, second, 64);
        _tile_loadd(3, second + t->half_floats, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const char *weights = t->weights;
    /* Two tiles are two units to store. */
    const int64_t wait = max64(steps / 2, 1), at_once = div_up(2, max64(steps, 1));
    int64_t until_store = STEPS_BETWEEN_STORES(products), until_unit = wait;
    for (int64_t block = 0; block < t->blocks; block++)
        for (int64_t tap = 0; tap < t->taps; tap++, weights += pieces * 2048) {
            const int64_t at = block * t->block_bytes + t->tap_bytes[tap];
            const operand_t lines = {t->lines[0] + at, t->lines[1] + at, t->piece_bytes};
            multiply_step(lines, (operand_t){weights, weights + 1024, 2048}, products);
            if (--until_store == 0) {
                until_store = STEPS_BETWEEN_STORES(products);
                _tile_stored(7, unread, 64);
            }
            if (--until_unit == 0) {
                until_unit = wait;
                for (int64_t i = 0; i < at_once && unit_is_ready(store); i++) store_unit(store);
            }
        }
    _tile_stored(0, first, 64);
    _tile_stored(1, first + t->half_floats, 64);
    _tile_stored(2, second, 64);
    _tile_stored(3, second + t->half_floats, 64);
}

/* Rows are filters, columns channels: the lines are operand b, so that the products of pieces are added in the order of
 * the other operand. Registers: 0 to 3 totals of halves (filters, channels) 00, 01, 10, 11. */
ALWAYS_INLINE void multiply_gradient_by(const gradient_tiles_t *t, const int products) {
    const int64_t pieces = PIECES_OF(products);
    _Alignas(64) float sums[4][256];
    _Alignas(64) char unread[1024];
    int64_t until_store = STEPS_BETWEEN_STORES(products);
    WRITTEN_BEFORE_TILES_ARE_LOADED;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t tile = 0; tile < t->count; tile++) {
        const int64_t at = t->tiles[tile], step = tile * pieces * 1024;
        const operand_t gradient = {t->gradient[0] + step, t->gradient[1] + step, 1024};
        multiply_step(gradient, (operand_t){t->lines[0] + at, t->lines[1] + at, t->piece_bytes}, products);
        if (--until_store == 0) {
            until_store = STEPS_BETWEEN_STORES(products);
            _tile_stored(7, unread, 64);
        }
    }
    float *to = t->goes_on ? sums[0] : t->totals;
    _tile_stored(0, to, 64);
    _tile_stored(1, to + 256, 64);
    _tile_stored(2, to + 512, 64);
    _tile_stored(3, to + 768, 64);
    if (!t->goes_on) return;
    for (int64_t i = 0; i < 1024; i += 16)
        _mm512_store_ps(t->totals + i, _mm512_add_ps(_mm512_load_ps(t->totals + i), _mm512_load_ps(to + i)));
}
