/* Lanes in another order: lane i of the result is lane which[i] of `a` or, from LANES on, of `b`. One instruction or
 * two where `which` is constant. */
#if REAL_BYTES == 4
typedef int32_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t NAMED(lane_index) __attribute__((vector_size(VECTOR_BYTES)));
#endif

#ifdef __clang__

/* Of lanes that are not constant clang has no builtin; where they are it mostly sees through the loop. */
ALWAYS_INLINE NAMED(vector) NAMED(shuffle)(NAMED(vector) a, NAMED(vector) b, NAMED(lane_index) which) {
    const NAMED(vector) both[2] = {a, b};
    NAMED(vector) result = {0};
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) result[i] = ((const REAL *)both)[which[i] & (2 * LANES - 1)];
    return result;
}
/* The same of one vector. */
ALWAYS_INLINE NAMED(vector) NAMED(shuffle_one)(NAMED(vector) a, NAMED(lane_index) which) {
    return NAMED(shuffle)(a, a, which);
}
/* The same with `which` as a list of constants. */
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

#else

ALWAYS_INLINE NAMED(vector) NAMED(shuffle)(NAMED(vector) a, NAMED(vector) b, NAMED(lane_index) which) {
    return __builtin_shuffle(a, b, which);
}
ALWAYS_INLINE NAMED(vector) NAMED(shuffle_one)(NAMED(vector) a, NAMED(lane_index) which) {
    return __builtin_shuffle(a, which);
}
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (NAMED(lane_index)){__VA_ARGS__})

#endif
