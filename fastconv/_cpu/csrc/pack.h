/* Writes gathered lines into panels, [panel][depth][width]: the operands of the register tile. */

/* In-register transpose of LANES vectors: rounds of interleaving vector i with vector i + half. Interleaving across the
 * two halves of a 32-byte vector takes two instructions; there each half is transposed by itself and then put in place.
 */
#if REAL_BYTES == 4
typedef int32_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#endif
#if VECTOR_BYTES == 64 && REAL_BYTES == 4
#define INTERLEAVE_LOW {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#define INTERLEAVE_HIGH {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}
#define ROUNDS 4
#elif VECTOR_BYTES == 64
#define INTERLEAVE_LOW {0, 8, 1, 9, 2, 10, 3, 11}
#define INTERLEAVE_HIGH {4, 12, 5, 13, 6, 14, 7, 15}
#define ROUNDS 3
#elif VECTOR_BYTES == 32 && REAL_BYTES == 4
#define INTERLEAVE_LOW {0, 8, 1, 9, 4, 12, 5, 13}
#define INTERLEAVE_HIGH {2, 10, 3, 11, 6, 14, 7, 15}
#define LOW_HALVES {0, 1, 2, 3, 8, 9, 10, 11}
#define HIGH_HALVES {4, 5, 6, 7, 12, 13, 14, 15}
#define ROUNDS 2
#elif VECTOR_BYTES == 32
#define INTERLEAVE_LOW {0, 4, 2, 6}
#define INTERLEAVE_HIGH {1, 5, 3, 7}
#define LOW_HALVES {0, 1, 4, 5}
#define HIGH_HALVES {2, 3, 6, 7}
#define ROUNDS 1
#elif REAL_BYTES == 4
#define INTERLEAVE_LOW {0, 4, 1, 5}
#define INTERLEAVE_HIGH {2, 6, 3, 7}
#define ROUNDS 2
#else
#define INTERLEAVE_LOW {0, 2}
#define INTERLEAVE_HIGH {1, 3}
#define ROUNDS 1
#endif

ALWAYS_INLINE void NAMED(transpose)(NAMED(vector) *rows) {
    const NAMED(lane_index) low = INTERLEAVE_LOW, high = INTERLEAVE_HIGH;
    const int block = 1 << ROUNDS;
    NAMED(vector) mixed[LANES];
#pragma GCC unroll 4
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 2
        for (int first = 0; first < LANES; first += block)
#pragma GCC unroll 16
            for (int i = 0; i < block / 2; i++) {
                mixed[first + 2 * i] = __builtin_shuffle(rows[first + i], rows[first + i + block / 2], low);
                mixed[first + 2 * i + 1] = __builtin_shuffle(rows[first + i], rows[first + i + block / 2], high);
            }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) rows[i] = mixed[i];
    }
#ifdef LOW_HALVES
    const NAMED(lane_index) low_halves = LOW_HALVES, high_halves = HIGH_HALVES;
#pragma GCC unroll 16
    for (int i = 0; i < block; i++) {
        rows[i] = __builtin_shuffle(mixed[i], mixed[block + i], low_halves);
        rows[block + i] = __builtin_shuffle(mixed[i], mixed[block + i], high_halves);
    }
#undef LOW_HALVES
#undef HIGH_HALVES
#endif
}
#undef INTERLEAVE_LOW
#undef INTERLEAVE_HIGH
#undef ROUNDS

/* One panel from `width` lines that run along the depth, `lines` apart by `line_stride`: panel[r][i] = lines[i][r].
 *
 * Rows of the panel are stored in ascending order as whole vectors, each running over into the next row, which then
 * overwrites the excess: up to LANES - 1 elements behind the panel are clobbered, and lines up to the next multiple of
 * LANES are read. */
static void NAMED(pack_transposed)(const REAL *lines, int64_t line_stride, int64_t width, int64_t depth, REAL *panel) {
    const int64_t vectors = div_up(width, LANES);
    NAMED(vector) block[4 * LANES];
    int64_t r = 0;
    for (; r + LANES <= depth; r += LANES) {
        for (int64_t v = 0; v < vectors; v++) {
            NAMED(vector) square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = *(const NAMED(unaligned) *)(lines + (v * LANES + i) * line_stride + r);
            NAMED(transpose)(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) block[i * 4 + v] = square[i];
        }
        for (int i = 0; i < LANES; i++)
            for (int64_t v = 0; v < vectors; v++)
                *(NAMED(unaligned) *)(panel + (r + i) * width + v * LANES) = block[i * 4 + v];
    }
    for (; r < depth; r++)
        for (int64_t i = 0; i < width; i++) panel[r * width + i] = lines[i * line_stride + r];
}

/* Row r of all panels from a line that runs along their width. A short last column panel is filled up with zeros, a
 * short last row panel has its own height. `line` has room for one more panel. */
static inline void NAMED(distribute)(REAL *line, int64_t count, int64_t width, int are_columns, int64_t panel_stride,
                                     int64_t r, REAL *panels) {
    if (are_columns) {
        NAMED(zero_line)(line + count, round_up(count, TILE_COLUMNS) - count);
        for (int64_t i = 0; i < count; i += TILE_COLUMNS, panels += panel_stride)
#pragma GCC unroll 2
            for (int v = 0; v < TILE_VECTORS; v++)
                *(NAMED(unaligned) *)(panels + r * TILE_COLUMNS + v * LANES) =
                    *(const NAMED(unaligned) *)(line + i + v * LANES);
    } else {
        for (int64_t i = 0; i < count; i += width, panels += panel_stride) {
            const int64_t height = min64(width, count - i);
            for (int64_t j = 0; j < height; j++) panels[r * height + j] = line[i + j];
        }
    }
}
