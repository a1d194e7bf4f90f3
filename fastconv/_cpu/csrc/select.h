/* Choices between vectors of REAL lane by lane, included once per type behind vector.h. On x86 their instructions have
 * to be named: of what can be said with masks the compiler makes three or four. */
#ifdef __SSE4_1__
#include <immintrin.h>

#if VECTOR_BYTES == 16
#define VECTOR_CALL(operation, suffix) JOIN(_mm_, JOIN(operation, suffix))
#elif VECTOR_BYTES == 32
#define VECTOR_CALL(operation, suffix) JOIN(_mm256_, JOIN(operation, suffix))
#else
#define VECTOR_CALL(operation, suffix) JOIN(_mm512_, JOIN(operation, suffix))
#endif
#if REAL_BYTES == 4
#define ON_REALS(operation) VECTOR_CALL(operation, _ps)
#else
#define ON_REALS(operation) VECTOR_CALL(operation, _pd)
#endif
#else
ALWAYS_INLINE NAMED(vector) NAMED(where)(NAMED(lane_index) mask, NAMED(vector) yes, NAMED(vector) no) {
    return (NAMED(vector))(((NAMED(lane_index))yes & mask) | ((NAMED(lane_index))no & ~mask));
}
#endif

/* The same in all lanes; of -0 it is -0. */
ALWAYS_INLINE NAMED(vector) NAMED(splat)(REAL x) { return x - (NAMED(vector)){0}; }

/* The larger, the smaller number; NaN stays NaN, and -0 beside a limit of 0 stays -0. */
ALWAYS_INLINE NAMED(vector) NAMED(at_least)(NAMED(vector) low, NAMED(vector) x) {
#ifdef __SSE4_1__
    return ON_REALS(max)(low, x);
#else
    return NAMED(where)(low > x, low, x);
#endif
}
ALWAYS_INLINE NAMED(vector) NAMED(at_most)(NAMED(vector) high, NAMED(vector) x) {
#ifdef __SSE4_1__
    return ON_REALS(min)(high, x);
#else
    return NAMED(where)(high < x, high, x);
#endif
}

/* a < b ? yes : no */
ALWAYS_INLINE NAMED(vector) NAMED(where_less)(NAMED(vector) a, NAMED(vector) b, NAMED(vector) yes, NAMED(vector) no) {
#ifndef __SSE4_1__
    return NAMED(where)(a < b, yes, no);
#elif VECTOR_BYTES == 64
    return ON_REALS(mask_blend)(JOIN(ON_REALS(cmp), _mask)(a, b, _CMP_LT_OQ), no, yes);
#else
    return ON_REALS(blendv)(no, yes, (NAMED(vector))(a < b));
#endif
}

/* x / d, rounded once or nearly so, where d and its reciprocal are normal numbers. Division is slow beside
 * multiply-adds that correct an estimate of 14 bits, first of the reciprocal, then of the quotient. */
ALWAYS_INLINE NAMED(vector) NAMED(quotient)(NAMED(vector) x, NAMED(vector) d) {
#if VECTOR_BYTES == 64 && REAL_BYTES == 4
    const NAMED(vector) first = (NAMED(vector))_mm512_rcp14_ps(d), reciprocal = first + first * (1 - d * first);
    const NAMED(vector) estimate = x * reciprocal;
    return estimate + reciprocal * (x - d * estimate);
#else
    return x / d;
#endif
}

#undef VECTOR_CALL
#undef ON_REALS
