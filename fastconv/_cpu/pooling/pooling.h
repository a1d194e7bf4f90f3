/* The pooling kernels of one element type; types.h includes this once per type. See job.h.
 *
 * ELEMENT is the array's type, LOWEST its lowest value, IS_NAN(v) whether v is NaN. Types with averages define SUM,
 * what elements are added in, WIDE, what groups of sums are added in, and QUOTIENT(sum, divisor); those with gradients
 * define HAS_GRADIENT. */

/* The common steps between lanes as constants, so that each gets a vector loop of its own. */
#define BY_STEP(step, call)                                                                                            \
    do {                                                                                                               \
        if ((step) == 1) {                                                                                             \
            call(1);                                                                                                   \
        } else if ((step) == 2) {                                                                                      \
            call(2);                                                                                                   \
        } else {                                                                                                       \
            call(step);                                                                                                \
        }                                                                                                              \
    } while (0)

static inline
    __attribute__((always_inline)) void NAMED(pool_fold_maximum)(ELEMENT *restrict best, int64_t *restrict where,
                                                                 const ELEMENT *restrict source, int64_t step,
                                                                 int64_t position, int64_t position_step,
                                                                 int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        ELEMENT value = source[i * step];
        int taken = (value > best[i]) | IS_NAN(value);
        best[i] = taken ? value : best[i];
        if (where != NULL) where[i] = taken ? position + i * position_step : where[i];
    }
}

static inline
    __attribute__((always_inline)) void NAMED(pool_copy)(ELEMENT *restrict result, const ELEMENT *restrict values,
                                                         int64_t step, int64_t count) {
    for (int64_t i = 0; i < count; i++) result[i * step] = values[i];
}

static inline void NAMED(pool_store)(ELEMENT *result, const ELEMENT *values, int64_t step, int64_t count) {
#define COPY(constant) NAMED(pool_copy)(result, values, constant, count)
    BY_STEP(step, COPY);
#undef COPY
}

/* The maximum of one window, lanes along its rows: lane i sees the taps i, i + POOL_LANES, ... of every row. */
static void NAMED(pool_wide_maximum)(const pool_job_t *job, const pool_run_t *run) {
    ELEMENT best[POOL_LANES], *result = (ELEMENT *)job->result + run->result;
    int64_t where[POOL_LANES], lanes = pool_min(run->taps[2], POOL_LANES), dilation = job->axis[2].dilation;
    int64_t step = dilation * job->source_stride[4];
    for (int64_t i = 0; i < lanes; i++) best[i] = LOWEST, where[i] = run->position;
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++)
            for (int64_t w = 0; w < run->taps[2]; w += POOL_LANES) {
                int64_t row = d * job->axis[0].dilation * job->axis[1].size + h * job->axis[1].dilation;
                const ELEMENT *source = (const ELEMENT *)job->source + run->source + w * step;
                source += d * job->axis[0].dilation * job->source_stride[2];
                source += h * job->axis[1].dilation * job->source_stride[3];
                int64_t position = run->position + row * job->axis[2].size + w * dilation;
                int64_t count = pool_min(POOL_LANES, run->taps[2] - w);
#define FOLD(constant) NAMED(pool_fold_maximum)(best, where, source, constant, position, dilation, count)
                BY_STEP(step, FOLD);
#undef FOLD
            }
    ELEMENT largest = LOWEST;
    int64_t at = run->position;
    for (int64_t i = 0; i < lanes; i++) {
        int later = where[i] > at;
        int taken = IS_NAN(best[i]) ? later || !IS_NAN(largest) : best[i] > largest || (best[i] == largest && !later);
        if (taken) largest = best[i], at = where[i];
    }
    *result = largest;
    if (job->index != NULL) job->index[run->index] = at;
}

/* Whole chunks of lanes, those behind the run's last with whatever is there; places are steps from the windows' first
 * elements, in lanes as wide as the elements'. */
typedef __typeof__(__builtin_choose_expr(sizeof(ELEMENT) == 8, (int64_t)0, (int32_t)0)) NAMED(pool_step);

static inline __attribute__((always_inline)) void NAMED(pool_fold_chunks)(ELEMENT *restrict best,
                                                                          NAMED(pool_step) *restrict where,
                                                                          const ELEMENT *restrict row,
                                                                          NAMED(pool_step) from_first, int64_t count) {
    for (int64_t i = 0; i < count; i += POOL_CHUNK)
        for (int64_t l = i; l < i + POOL_CHUNK; l++) {
            ELEMENT value = row[l];
            int taken = (value > best[l]) | IS_NAN(value);
            best[l] = taken ? value : best[l];
            where[l] = taken ? from_first : where[l];
        }
}

/* Maxima and their places of a run along rows of neighbours, by way of copies of them, one for the even and one for the
 * odd elements where the step is 2: lines of neighbours without a rest. */
static void NAMED(pool_maximum_of_rows)(const pool_job_t *job, const pool_run_t *run) {
    ELEMENT best[POOL_LANES], rows[2][POOL_ROW];
    NAMED(pool_step) where[POOL_LANES];
    const int64_t step = run->source_lane, dilation = job->axis[2].dilation, span = pool_span(job, run);
    for (int64_t i = 0; i < POOL_LANES; i++) best[i] = LOWEST, where[i] = 0;
    for (int64_t i = span / step; i < POOL_ROW; i++) rows[0][i] = rows[1][i] = 0;
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++) {
            const ELEMENT *source = (const ELEMENT *)job->source + run->source;
            source += d * job->axis[0].dilation * job->source_stride[2];
            source += h * job->axis[1].dilation * job->source_stride[3];
            const int64_t row = d * job->axis[0].dilation * job->axis[1].size + h * job->axis[1].dilation;
            if (step == 1) {
                memcpy(rows[0], source, span * sizeof *source);
            } else {
                for (int64_t i = 0; i < span / 2; i++) rows[0][i] = source[2 * i], rows[1][i] = source[2 * i + 1];
                if (span % 2) rows[0][span / 2] = source[span - 1];
            }
            for (int64_t w = 0; w < run->taps[2]; w++) {
                const ELEMENT *line = rows[w * dilation % step] + w * dilation / step;
                const int64_t from_first = row * job->axis[2].size + w * dilation;
                NAMED(pool_fold_chunks)(best, where, line, (NAMED(pool_step))from_first, run->count);
            }
        }
    NAMED(pool_store)((ELEMENT *)job->result + run->result, best, run->result_lane, run->count);
    int64_t *index = job->index + run->index;
    for (int64_t i = 0; i < run->count; i++)
        index[i * run->index_lane] = run->position + i * run->position_lane + where[i];
}

static inline __attribute__((always_inline)) void NAMED(pool_maximum_run)(const pool_job_t *job, const pool_run_t *run,
                                                                          int indices) {
    if (pool_is_wide(job, run)) {
        NAMED(pool_wide_maximum)(job, run);
        return;
    }
    if (indices && pool_is_of_rows(job, run)) {
        NAMED(pool_maximum_of_rows)(job, run);
        return;
    }
    ELEMENT best[POOL_LANES], *result = (ELEMENT *)job->result + run->result;
    int64_t where[POOL_LANES], count = run->count, step = run->source_lane, lane = run->position_lane;
    int is_empty = pool_tap_count(run) == 0;
    for (int64_t i = 0; i < count; i++) best[i] = LOWEST;
    if (indices)
        for (int64_t i = 0; i < count; i++) where[i] = is_empty ? -1 : run->position + i * lane;
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++) {
            const ELEMENT *source = (const ELEMENT *)job->source + run->source;
            source += d * job->axis[0].dilation * job->source_stride[2];
            source += h * job->axis[1].dilation * job->source_stride[3];
            int64_t row = d * job->axis[0].dilation * job->axis[1].size + h * job->axis[1].dilation;
            int64_t position = run->position + row * job->axis[2].size;
            for (int64_t w = 0; w < run->taps[2]; w++) {
#define FOLD(constant) NAMED(pool_fold_maximum)(best, indices ? where : NULL, source, constant, position, lane, count)
                BY_STEP(step, FOLD);
#undef FOLD
                source += job->axis[2].dilation * job->source_stride[4];
                position += job->axis[2].dilation;
            }
        }
    NAMED(pool_store)(result, best, run->result_lane, count);
    if (indices)
        for (int64_t i = 0; i < count; i++) job->index[run->index + i * run->index_lane] = where[i];
}

static void NAMED(pool_maximum_values)(const pool_job_t *job, const pool_run_t *run) {
    NAMED(pool_maximum_run)(job, run, 0);
}

static void NAMED(pool_maximum_both)(const pool_job_t *job, const pool_run_t *run) {
    NAMED(pool_maximum_run)(job, run, 1);
}

static void NAMED(pool_maximum)(const void *job, int64_t item, void *scratch) {
    (void)scratch;
    pool_item(job, item, NAMED(pool_maximum_values));
}

static void NAMED(pool_maximum_indices)(const void *job, int64_t item, void *scratch) {
    (void)scratch;
    pool_item(job, item, NAMED(pool_maximum_both));
}

#ifdef SUM
static inline
    __attribute__((always_inline)) void NAMED(pool_fold_sum)(SUM *restrict sum, const ELEMENT *restrict source,
                                                             int64_t step, int64_t count) {
    for (int64_t i = 0; i < count; i++) sum[i] += (SUM)source[i * step];
}

/* The average of one window, lanes along its rows. */
static void NAMED(pool_wide_average)(const pool_job_t *job, const pool_run_t *run) {
    SUM sum[POOL_LANES] = {0};
    WIDE total = 0;
    int64_t lanes = pool_min(run->taps[2], POOL_LANES), folds = 0, step = job->axis[2].dilation * job->source_stride[4];
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++)
            for (int64_t w = 0; w < run->taps[2]; w += POOL_LANES) {
                const ELEMENT *source = (const ELEMENT *)job->source + run->source + w * step;
                source += d * job->axis[0].dilation * job->source_stride[2];
                source += h * job->axis[1].dilation * job->source_stride[3];
                int64_t count = pool_min(POOL_LANES, run->taps[2] - w);
#define FOLD(constant) NAMED(pool_fold_sum)(sum, source, constant, count)
                BY_STEP(step, FOLD);
#undef FOLD
                if (++folds % POOL_GROUP != 0) continue;
                for (int64_t i = 0; i < lanes; i++) total += sum[i], sum[i] = 0;
            }
    for (int64_t half = POOL_LANES / 2; half >= 8; half /= 2)
        for (int64_t i = 0; i < half; i++) sum[i] += sum[i + half];
    for (int64_t i = 0; i < 8; i++) total += sum[i];
    ((ELEMENT *)job->result)[run->result] = (ELEMENT)QUOTIENT(WIDE, total, run->divisor);
}

static void NAMED(pool_average_run)(const pool_job_t *job, const pool_run_t *run) {
    SUM sum[POOL_LANES];
    WIDE total[POOL_LANES];
    ELEMENT *result = (ELEMENT *)job->result + run->result;
    int64_t count = run->count, step = run->source_lane, folds = 0;
    int is_grouped = pool_tap_count(run) > POOL_GROUP;
    if (is_grouped && pool_is_wide(job, run)) {
        NAMED(pool_wide_average)(job, run);
        return;
    }
    for (int64_t i = 0; i < count; i++) sum[i] = 0;
    if (is_grouped)
        for (int64_t i = 0; i < count; i++) total[i] = 0;
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++) {
            const ELEMENT *source = (const ELEMENT *)job->source + run->source;
            source += d * job->axis[0].dilation * job->source_stride[2];
            source += h * job->axis[1].dilation * job->source_stride[3];
            for (int64_t w = 0; w < run->taps[2]; w++) {
#define FOLD(constant) NAMED(pool_fold_sum)(sum, source, constant, count)
                BY_STEP(step, FOLD);
#undef FOLD
                source += job->axis[2].dilation * job->source_stride[4];
                if (!is_grouped || ++folds % POOL_GROUP != 0) continue;
                for (int64_t i = 0; i < count; i++) total[i] += sum[i], sum[i] = 0;
            }
        }
    ELEMENT average[POOL_LANES];
    if (is_grouped)
        for (int64_t i = 0; i < count; i++) average[i] = (ELEMENT)QUOTIENT(WIDE, total[i] + sum[i], run->divisor);
    else
        for (int64_t i = 0; i < count; i++) average[i] = (ELEMENT)QUOTIENT(SUM, sum[i], run->divisor);
    NAMED(pool_store)(result, average, run->result_lane, count);
}

static void NAMED(pool_average)(const void *job, int64_t item, void *scratch) {
    (void)scratch;
    pool_item(job, item, NAMED(pool_average_run));
}
#endif

#ifdef HAS_GRADIENT
static inline
    __attribute__((always_inline)) void NAMED(pool_add)(ELEMENT *restrict source, const ELEMENT *restrict share,
                                                        int64_t share_step, int64_t step, int64_t count) {
    for (int64_t i = 0; i < count; i++) source[i * step] += share[i * share_step];
}

static void NAMED(pool_average_gradient_run)(const pool_job_t *job, const pool_run_t *run) {
    ELEMENT share[POOL_LANES];
    const ELEMENT *result = (const ELEMENT *)job->result + run->result;
    int64_t count = run->count, lane = run->source_lane, tap = job->axis[2].dilation * job->source_stride[4];
    for (int64_t i = 0; i < count; i++) share[i] = QUOTIENT(ELEMENT, result[i * run->result_lane], run->divisor);
    for (int64_t d = 0; d < run->taps[0]; d++)
        for (int64_t h = 0; h < run->taps[1]; h++) {
            ELEMENT *source = (ELEMENT *)job->source + run->source;
            source += d * job->axis[0].dilation * job->source_stride[2];
            source += h * job->axis[1].dilation * job->source_stride[3];
            if (count == 1) {
#define ADD(constant) NAMED(pool_add)(source, share, 0, constant, run->taps[2])
                BY_STEP(tap, ADD);
#undef ADD
                continue;
            }
            for (int64_t w = 0; w < run->taps[2]; w++, source += tap) {
#define ADD(constant) NAMED(pool_add)(source, share, 1, constant, count)
                BY_STEP(lane, ADD);
#undef ADD
            }
        }
}

static void NAMED(pool_average_gradient)(const void *job, int64_t item, void *scratch) {
    (void)scratch;
    pool_item(job, item, NAMED(pool_average_gradient_run));
}

static void NAMED(pool_maximum_gradient_run)(const pool_job_t *job, const pool_run_t *run) {
    const ELEMENT *result = (const ELEMENT *)job->result + run->result;
    const int64_t *index = job->index + run->index;
    ELEMENT *plane = (ELEMENT *)job->source + run->plane;
    int64_t channel_step = job->lanes_along_channels ? job->source_stride[1] : 0, step = job->source_stride[4];
    const uint64_t size = (uint64_t)(job->axis[0].size * job->axis[1].size * job->axis[2].size);
    for (int64_t i = 0; i < run->count; i++) {
        /* Read once: another thread may write to the user's array at any time. */
        const int64_t at = __atomic_load_n(&index[i * run->index_lane], __ATOMIC_RELAXED);
        if ((uint64_t)at < size) plane[i * channel_step + at * step] += result[i * run->result_lane];
    }
}

static void NAMED(pool_maximum_gradient)(const void *job, int64_t item, void *scratch) {
    (void)scratch;
    pool_item(job, item, NAMED(pool_maximum_gradient_run));
}
#endif

#undef BY_STEP
#undef ELEMENT
#undef LOWEST
#undef IS_NAN
#undef NAMED
#undef SUM
#undef WIDE
#undef QUOTIENT
#undef HAS_GRADIENT
