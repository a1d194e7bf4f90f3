/* Activations of whole arrays and their gradients; see job.h. */

/* The first `count` < LANES elements; `other` in the lanes behind them. */
ALWAYS_INLINE NAMED(vector) NAMED(load_first)(const REAL *from, int64_t count, REAL other) {
    NAMED(vector) few = NAMED(splat)(other);
    NAMED(copy_few)((REAL *)&few, from, count);
    return few;
}

ALWAYS_INLINE void NAMED(slope_rows)(const activation_t activation, REAL *result, const REAL *dy, const REAL *z,
                                     int64_t count, REAL slope) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        NAMED(store)(result + i, NAMED(sloped)(activation, NAMED(load)(dy + i), NAMED(load)(z + i), slope));
    if (i < count) {
        const NAMED(vector) some = NAMED(load_first)(dy + i, count - i, 0);
        const NAMED(vector) v = NAMED(sloped)(activation, some, NAMED(load_first)(z + i, count - i, 0), slope);
        NAMED(copy_few)(result + i, (const REAL *)&v, count - i);
    }
}

/* result = dy * activation'(z) */
ONE_COPY void NAMED(slope_vectors)(activation_t activation, REAL *result, const REAL *dy, const REAL *z, int64_t count,
                                   REAL slope) {
#define CASE(name)                                                                                                     \
    case name: NAMED(slope_rows)(name, result, dy, z, count, slope); break;
    switch (activation) {
        CASE(ACTIVATION_NONE)
        CASE(ACTIVATION_RELU)
        CASE(ACTIVATION_RELU6)
        CASE(ACTIVATION_LEAKY_RELU)
        CASE(ACTIVATION_SILU)
        CASE(ACTIVATION_GELU)
        CASE(ACTIVATION_TANH)
        CASE(ACTIVATION_SIGMOID)
    }
#undef CASE
}

static void NAMED(activate)(const void *argument, int64_t item, void *scratch) {
    const activation_job_t *job = argument;
    const epilogue_t epilogue = {.activation = job->activation, .slope = job->slope};
    const int64_t first = item * ACTIVATED_PER_ITEM, end = min64(first + ACTIVATED_PER_ITEM, job->count);
    (void)scratch;
    for (int64_t i = first; i < end; i += 1024) {
        const int64_t count = min64(1024, end - i);
        REAL *result = (REAL *)job->result + i;
        const REAL *x = (const REAL *)job->x + i;
        NAMED(finish_t) rows = {.rows = 1, .count = count, .result = result, .stride = 1};
        if (job->add != NULL) rows.add = (const REAL *)job->add + i, rows.add_stride = 1;
        if (x != result) memcpy(result, x, count * sizeof *x);
        NAMED(finish_vectors)(&epilogue, &rows);
    }
}

static void NAMED(activate_gradient)(const void *argument, int64_t item, void *scratch) {
    const activation_job_t *job = argument;
    const int64_t first = item * ACTIVATED_PER_ITEM, count = min64(ACTIVATED_PER_ITEM, job->count - first);
    (void)scratch;
    NAMED(slope_vectors)
    (job->activation, (REAL *)job->result + first, (const REAL *)job->dy + first, (const REAL *)job->x + first, count,
     (REAL)job->slope);
}
