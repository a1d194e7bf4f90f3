/* Lines of elements: copied, cleared, clipped to what is inside of an array; where a weight is. */
static inline void NAMED(copy_line)(REAL *target, const REAL *source, int64_t stride, int64_t count) {
    NAMED(copy_rows)(target, 0, source, 0, stride, count, 1);
}

static inline void NAMED(zero_line)(REAL *target, int64_t count) {
    for (int64_t i = 0; i < count; i++) target[i] = 0;
}

/* Slots [*begin, *end) of `count`, the first at source index `first` and the next `step` further, lie inside. */
static inline void NAMED(clip)(int64_t first, int64_t step, int64_t count, int64_t size, int64_t *begin, int64_t *end) {
    *begin = first >= 0 ? 0 : min64(step == 1 ? -first : div_up(-first, step), count);
    *end = first >= size ? *begin : min64(step == 1 ? size - first : div_up(size - first, step), count);
    if (*end < *begin) *end = *begin;
}

/* The weight of one filter, channel and tap, by its number. */
static inline REAL *NAMED(weight_at)(const correlation_t *c, int64_t filter, int64_t channel, int64_t tap) {
    return (REAL *)c->weight + filter * c->weight_stride[0] + channel * c->weight_stride[1] +
           tap / (c->taps[2] * c->taps[1]) * c->weight_stride[2] + tap / c->taps[2] % c->taps[1] * c->weight_stride[3] +
           tap % c->taps[2] * c->weight_stride[4];
}
