/* Square blocks of LANES vectors, and lines of neighbouring elements as vectors of lanes. */

/* In-register transpose of LANES vectors: rounds of interleaving vector i with vector i + half. Interleaving across the
 * two halves of a 32-byte vector takes two instructions; there each half is transposed by itself and then put in place.
 */
#if VECTOR_BYTES == 64 && REAL_BYTES == 4
#define INTERLEAVE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define ROUNDS 4
#elif VECTOR_BYTES == 64
#define INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define ROUNDS 3
#elif VECTOR_BYTES == 32 && REAL_BYTES == 4
#define INTERLEAVE_LOW 0, 8, 1, 9, 4, 12, 5, 13
#define INTERLEAVE_HIGH 2, 10, 3, 11, 6, 14, 7, 15
#define LOW_HALVES 0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_HALVES 4, 5, 6, 7, 12, 13, 14, 15
#define ROUNDS 2
#elif VECTOR_BYTES == 32
#define INTERLEAVE_LOW 0, 4, 2, 6
#define INTERLEAVE_HIGH 1, 5, 3, 7
#define LOW_HALVES 0, 1, 4, 5
#define HIGH_HALVES 2, 3, 6, 7
#define ROUNDS 1
#elif REAL_BYTES == 4
#define INTERLEAVE_LOW 0, 4, 1, 5
#define INTERLEAVE_HIGH 2, 6, 3, 7
#define ROUNDS 2
#else
#define INTERLEAVE_LOW 0, 2
#define INTERLEAVE_HIGH 1, 3
#define ROUNDS 1
#endif

ALWAYS_INLINE void NAMED(transpose)(NAMED(vector) *rows) {
    const int block = 1 << ROUNDS;
    NAMED(vector) mixed[LANES];
#pragma GCC unroll 4
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 2
        for (int first = 0; first < LANES; first += block)
#pragma GCC unroll 16
            for (int i = 0; i < block / 2; i++) {
                mixed[first + 2 * i] = SHUFFLED(rows[first + i], rows[first + i + block / 2], INTERLEAVE_LOW);
                mixed[first + 2 * i + 1] = SHUFFLED(rows[first + i], rows[first + i + block / 2], INTERLEAVE_HIGH);
            }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) rows[i] = mixed[i];
    }
#ifdef LOW_HALVES
#pragma GCC unroll 16
    for (int i = 0; i < block; i++) {
        rows[i] = SHUFFLED(mixed[i], mixed[block + i], LOW_HALVES);
        rows[block + i] = SHUFFLED(mixed[i], mixed[block + i], HIGH_HALVES);
    }
#undef LOW_HALVES
#undef HIGH_HALVES
#endif
}
#undef INTERLEAVE_LOW
#undef INTERLEAVE_HIGH
#undef ROUNDS

/* Elements [0, count) of the lines of up to LANES filters, `filter_stride` apart: element j to row slot[j] of `taps`.
 * Up to `room` elements of every line may be read. */
static inline void NAMED(transpose_lines)(const REAL *lines, int64_t filter_stride, int64_t filters, int64_t count,
                                          int64_t room, const int64_t *slot, REAL *taps) {
    if (room < LANES || filters < LANES) {
        for (int64_t filter = 0; filter < filters; filter++)
            for (int64_t j = 0; j < count; j++) taps[slot[j] * LANES + filter] = lines[filter * filter_stride + j];
        return;
    }
    for (int64_t j = 0; j < count; j += LANES) {
        const int64_t start = min64(j, room - LANES), end = min64(start + LANES, count);
        NAMED(vector) square[LANES];
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) square[i] = *(const NAMED(unaligned) *)(lines + i * filter_stride + start);
        NAMED(transpose)(square);
        if (end == j + LANES) {
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) *(NAMED(vector) *)(taps + slot[j + i] * LANES) = square[i];
        } else {
            for (int64_t i = j; i < end; i++) *(NAMED(vector) *)(taps + slot[i] * LANES) = square[i - start];
        }
    }
}
