/* Lanes in another order: lane i of the result is lane which[i] of `a` or, from LANES on, of `b`. One instruction or
 * two where `which` is constant. */
#if REAL_BYTES == 4
typedef int32_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#endif

#ifdef __clang__ /* has no such builtin for lanes that are not constant, and makes the same of the loop where they are \
                  */
ALWAYS_INLINE NAMED(vector) NAMED(shuffle)(NAMED(vector) a, NAMED(vector) b, NAMED(lane_index) which) {
    const NAMED(vector) both[2] = {a, b};
    NAMED(vector) result = {0};
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) result[i] = ((const REAL *)both)[which[i] & (2 * LANES - 1)];
    return result;
}
#else
ALWAYS_INLINE NAMED(vector) NAMED(shuffle)(NAMED(vector) a, NAMED(vector) b, NAMED(lane_index) which) {
    return __builtin_shuffle(a, b, which);
}
#endif

/* Those of one vector. */
ALWAYS_INLINE NAMED(vector) NAMED(shuffle_one)(NAMED(vector) a, NAMED(lane_index) which) {
#ifdef __clang__
    return NAMED(shuffle)(a, a, which);
#else
    return __builtin_shuffle(a, which);
#endif
}
