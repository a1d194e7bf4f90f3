/* One item of a carry; see carry_job.h. The same in the tables of all real types.
 *
 * Numerics: conversions are those of half_floats.h; integers are those that float64 holds, rounded to the nearest and
 * cut to 32 bits as sums that wrap are. There are no branches inside of rows, so that the compiler makes vectors of
 * those whose elements are neighbours. */
#define CARRY(name, from_t, to_t, value)                                                                               \
    static void NAMED(carry_##name)(const char *source, int64_t source_step, const int64_t *source_index,              \
                                    char *result, int64_t result_step, const int64_t *result_index, int64_t count) {   \
        if (source_index == NULL && result_index == NULL && source_step == sizeof(from_t) &&                           \
            result_step == sizeof(to_t)) {                                                                             \
            for (int64_t i = 0; i < count; i++) {                                                                      \
                from_t a;                                                                                              \
                to_t r;                                                                                                \
                memcpy(&a, source + i * (int64_t)sizeof a, sizeof a);                                                  \
                memcpy(&r, result + i * (int64_t)sizeof r, sizeof r);                                                  \
                r = (to_t)(value);                                                                                     \
                memcpy(result + i * (int64_t)sizeof r, &r, sizeof r);                                                  \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                                          \
            const char *from = source + (source_index != NULL ? source_index[i] : i) * source_step;                    \
            char *to = result + (result_index != NULL ? result_index[i] : i) * result_step;                            \
            from_t a;                                                                                                  \
            to_t r;                                                                                                    \
            memcpy(&a, from, sizeof a);                                                                                \
            memcpy(&r, to, sizeof r);                                                                                  \
            r = (to_t)(value);                                                                                         \
            memcpy(to, &r, sizeof r);                                                                                  \
        }                                                                                                              \
    }
CARRY_LIST
#undef CARRY

static void NAMED(carry)(const void *argument, int64_t item, void *scratch) {
    static void (*const carries[])(const char *, int64_t, const int64_t *, char *, int64_t, const int64_t *,
                                   int64_t) = {
#define CARRY(name, from_t, to_t, value) [CARRY_##name] = NAMED(carry_##name),
        CARRY_LIST
#undef CARRY
    };
    const carry_job_t *job = argument;
    const int last = CARRY_AXES - 1;
    int64_t rows = 1, at = item % job->parts * CARRY_BLOCK, count = job->size[last];
    (void)scratch;
    for (int axis = 0; axis < last; axis++) rows *= job->size[axis];
    const int64_t first = item / job->parts * job->rows_per_item, end = min64(first + job->rows_per_item, rows);
    if (job->parts > 1) count = min64(count - at, CARRY_BLOCK);
    for (int64_t row = first; row < end; row++) {
        const char *source = job->source;
        char *result = job->result;
        int64_t rest = row;
        for (int axis = last - 1; axis >= 0; axis--) {
            const int64_t i = rest % job->size[axis], table = axis - (CARRY_AXES - 3);
            rest /= job->size[axis];
            source +=
                (table >= 0 && job->source_index[table] ? job->source_index[table][i] : i) * job->source_step[axis];
            result +=
                (table >= 0 && job->result_index[table] ? job->result_index[table][i] : i) * job->result_step[axis];
        }
        const int64_t *source_index = job->source_index[2], *result_index = job->result_index[2];
        if (source_index == NULL)
            source += at * job->source_step[last];
        else
            source_index += at;
        if (result_index == NULL)
            result += at * job->result_step[last];
        else
            result_index += at;
        carries[job->carry](source, job->source_step[last], source_index, result, job->result_step[last], result_index,
                            count);
    }
}
