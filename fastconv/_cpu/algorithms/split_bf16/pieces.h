/* Elements of any type as float32, float32 as bfloat16 pieces, and 16 rows of 16 dwords transposed into columns.
 *
 * Numerics. The pieces of x are x rounded to 8 bits, what is left (exact) rounded to 8 bits, ...: rounding is to
 * nearest, ties away from zero. Magnitudes that the pieces cannot hold are found by `largest`, the maximum of all
 * magnitudes' bits: NaN is above infinity, and both are above every finite number. */
#include <immintrin.h>

typedef struct {
    __m512i largest;        /* of the lanes */
    __m512i largest_halves; /* of bfloat16 lanes */
} magnitude_t;

ALWAYS_INLINE void note_magnitude(magnitude_t *m, __m512 values) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(0x7fffffff));
    m->largest = _mm512_max_epu32(m->largest, bits);
}

/* Of pairs of bfloat16, which are the upper halves of float32. */
ALWAYS_INLINE void note_pairs(magnitude_t *m, __m512i pairs) {
    m->largest_halves = _mm512_max_epu16(m->largest_halves, _mm512_and_si512(pairs, _mm512_set1_epi16(0x7fff)));
}

static const magnitude_t NO_MAGNITUDE;

/* Many threads may tell what they found; the maximum does not depend on their order. */
static void tell_magnitude(uint32_t *largest, const magnitude_t *m) {
    const __m512i odd = _mm512_and_si512(m->largest_halves, _mm512_set1_epi32((int)0xffff0000));
    const __m512i halves = _mm512_max_epu32(odd, _mm512_slli_epi32(m->largest_halves, 16));
    const uint32_t found = _mm512_reduce_max_epu32(_mm512_max_epu32(m->largest, halves));
    uint32_t known = __atomic_load_n(largest, __ATOMIC_RELAXED);
    while (found > known &&
           !__atomic_compare_exchange_n(largest, &known, found, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

ALWAYS_INLINE __mmask16 first_lanes(int64_t count) {
    return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

/* The first `count` (at most 16) of neighbouring elements, zeros in the other lanes; nothing else is read. */
ALWAYS_INLINE __m512 load_elements(const element_t element, const char *from, const __mmask16 mask) {
    if (element == ELEMENT_FLOAT32) return _mm512_maskz_loadu_ps(mask, from);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, from);
    if (element == ELEMENT_FLOAT16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE float load_element(const element_t element, const char *from) {
    if (element == ELEMENT_FLOAT32) return *(const float *)from;
    if (element == ELEMENT_FLOAT16) return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(*(const uint16_t *)from)));
    const uint32_t bits = (uint32_t)*(const uint16_t *)from << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The same of elements that lie `stride` elements apart. */
ALWAYS_INLINE __m512 load_apart(const element_t element, const char *from, int64_t stride, int64_t count) {
    if (stride == 1) return load_elements(element, from, first_lanes(count));
    if (stride == 2 && element == ELEMENT_FLOAT32) {
        const int64_t span = 2 * count - 1;
        const __m512 low = _mm512_maskz_loadu_ps(first_lanes(span), from);
        const __m512 high = _mm512_maskz_loadu_ps(first_lanes(span - 16), from + 64);
        const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        return _mm512_permutex2var_ps(low, even, high);
    }
    const int64_t bytes = stride * (element == ELEMENT_FLOAT32 ? 4 : 2);
    float values[16] = {0};
    for (int64_t i = 0; i < count; i++) values[i] = load_element(element, from + i * bytes);
    return _mm512_loadu_ps(values);
}

/* Neighbouring bfloat16 elements in dwords. */
ALWAYS_INLINE __m512i load_halves(const char *from, int64_t count) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}

/* The largest piece of every lane of two vectors, as pairs (low half: of a); what is left stays in them. */
ALWAYS_INLINE __m512i take_pieces(__m512 *a, __m512 *b) {
    const __m512i top = _mm512_set1_epi32((int)0xffff0000), half = _mm512_set1_epi32(0x8000);
    const __m512i rounded_a = _mm512_add_epi32(_mm512_castps_si512(*a), half);
    const __m512i rounded_b = _mm512_add_epi32(_mm512_castps_si512(*b), half);
    *a = _mm512_sub_ps(*a, _mm512_castsi512_ps(_mm512_and_si512(rounded_a, top)));
    *b = _mm512_sub_ps(*b, _mm512_castsi512_ps(_mm512_and_si512(rounded_b, top)));
    return _mm512_ternarylogic_epi32(rounded_b, top, _mm512_srli_epi32(rounded_a, 16), 0xEA); /* b & top | a >> 16 */
}

/* Lanes 4 * quarter .. + 3 of 16 rows: column i of them into columns[i]. */
ALWAYS_INLINE void transpose_quarter(const char *const rows[16], const int quarter, __m512i columns[4]) {
    __m512i four[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const int64_t at = quarter * 16;
        __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(rows[i] + at)));
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(rows[4 + i] + at)), 1);
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(rows[8 + i] + at)), 2);
        four[i] = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(rows[12 + i] + at)), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(four[0], four[1]), high01 = _mm512_unpackhi_epi32(four[0], four[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(four[2], four[3]), high23 = _mm512_unpackhi_epi32(four[2], four[3]);
    columns[0] = _mm512_unpacklo_epi64(low01, low23);
    columns[1] = _mm512_unpackhi_epi64(low01, low23);
    columns[2] = _mm512_unpacklo_epi64(high01, high23);
    columns[3] = _mm512_unpackhi_epi64(high01, high23);
}
