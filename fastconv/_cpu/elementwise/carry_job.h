/* What the carry kernel computes: result[i] = f(source[i]), or result[i] += f(source[i]), element by element.
 *
 * It is how arrays that kernels cannot read or write as they are get into scratch memory and out of it: of other types,
 * complex numbers part by part, padded by their own elements.
 *
 * Layout. Six axes; steps are in bytes, of any sign, and 0 is allowed in the source. On the last three axes the element
 * of index i may be the element of index `source_index[axis][i]`, or `result_index[axis][i]`: NULL stands for i itself.
 * Nothing is assumed to be aligned. An item is a part of one row (the last axis), or several rows.
 *
 * Preconditions. Source and result do not overlap. Of additions with a result index, one item has all of a plane: no
 * two items add to the same element. */
#ifndef FASTCONV_CARRY_JOB_H
#define FASTCONV_CARRY_JOB_H

#include <stddef.h>
#include <stdlib.h>

#include "integers.h"

#define CARRY_AXES 6
/* Elements of an item, about. */
#define CARRY_BLOCK 32768

/* CARRY(name, type of the source, type of the result, result after it). */
#define CARRY_LIST                                                                                                     \
    CARRY(COPY_2, uint16_t, uint16_t, a)                                                                               \
    CARRY(COPY_4, uint32_t, uint32_t, a)                                                                               \
    CARRY(COPY_8, uint64_t, uint64_t, a)                                                                               \
    CARRY(NEGATE_FLOAT32, float, float, -a)                                                                            \
    CARRY(NEGATE_FLOAT64, double, double, -a)                                                                          \
    CARRY(ADD_FLOAT32, float, float, r + a)                                                                            \
    CARRY(ADD_FLOAT64, double, double, r + a)                                                                          \
    CARRY(SUBTRACT_FLOAT32, float, float, r - a)                                                                       \
    CARRY(SUBTRACT_FLOAT64, double, double, r - a)                                                                     \
    CARRY(FLOAT16_TO_FLOAT32, uint16_t, uint32_t, float16_to_float32(a))                                               \
    CARRY(FLOAT32_TO_FLOAT16, uint32_t, uint16_t, float32_to_float16(a))                                               \
    CARRY(BFLOAT16_TO_FLOAT32, uint16_t, uint32_t, bfloat16_to_float32(a))                                             \
    CARRY(FLOAT32_TO_BFLOAT16, uint32_t, uint16_t, float32_to_bfloat16(a))                                             \
    CARRY(INT8_TO_FLOAT64, int8_t, double, a)                                                                          \
    CARRY(UINT8_TO_FLOAT64, uint8_t, double, a)                                                                        \
    CARRY(INT8_TO_INT16, int8_t, int16_t, a)                                                                           \
    CARRY(UINT8_TO_INT16, uint8_t, int16_t, a)                                                                         \
    CARRY(INT16_TO_INT16, int16_t, int16_t, a)                                                                         \
    CARRY(INT16_TO_FLOAT64, int16_t, double, a)                                                                        \
    CARRY(SUBTRACT_INT16, int16_t, int16_t, r - a)                                                                     \
    CARRY(SUBTRACT_INT16_FROM_FLOAT64, int16_t, double, r - a)                                                         \
    CARRY(FLOAT64_TO_INT32, double, int32_t, (int32_t)(uint32_t)(uint64_t)(int64_t)rint(a))

typedef enum {
#define CARRY(name, from_t, to_t, value) CARRY_##name,
    CARRY_LIST
#undef CARRY
        CARRY_COUNT
} carry_t;

static inline const char *carry_name(int64_t carry) {
    static const char *const names[] = {
#define CARRY(name, from_t, to_t, value) #name,
        CARRY_LIST
#undef CARRY
    };
    return names[carry];
}

typedef struct {
    carry_t carry;
    int64_t size[CARRY_AXES];
    const char *source;
    char *result;
    int64_t source_step[CARRY_AXES];
    int64_t result_step[CARRY_AXES];
    const int64_t *source_index[3];
    const int64_t *result_index[3];
    int64_t rows_per_item;
    int64_t parts; /* of a row, each an item; 1 where an item has several rows */
} carry_job_t;

static inline int carry_is_indexed(const carry_job_t *job) {
    for (int axis = 0; axis < 3; axis++)
        if (job->source_index[axis] != NULL || job->result_index[axis] != NULL) return 1;
    return 0;
}

static inline void carry_swap_axes(carry_job_t *job, int a, int b) {
    int64_t *const of[] = {job->size, job->source_step, job->result_step};
    for (int i = 0; i < 3; i++) {
        const int64_t first = of[i][a];
        of[i][a] = of[i][b];
        of[i][b] = first;
    }
}

/* Put the axes in the order of the result's memory and make one of those that are walked as one: rows are long then. */
static inline void carry_merge(carry_job_t *job) {
    if (carry_is_indexed(job)) return;
    for (int axis = 1; axis < CARRY_AXES; axis++)
        for (int i = axis; i > 0 && llabs(job->result_step[i - 1]) < llabs(job->result_step[i]); i--)
            carry_swap_axes(job, i - 1, i);
    int last = CARRY_AXES - 1;
    for (int axis = CARRY_AXES - 2; axis >= 0; axis--) {
        if (job->size[axis] == 1) continue;
        if (job->size[last] == 1) {
            job->source_step[last] = job->source_step[axis];
            job->result_step[last] = job->result_step[axis];
        } else if (job->source_step[axis] != job->size[last] * job->source_step[last] ||
                   job->result_step[axis] != job->size[last] * job->result_step[last]) {
            last--;
            if (last != axis) {
                job->size[last] = job->size[axis];
                job->source_step[last] = job->source_step[axis];
                job->result_step[last] = job->result_step[axis];
                job->size[axis] = 1;
            }
            continue;
        }
        job->size[last] *= job->size[axis];
        job->size[axis] = 1;
    }
}

/* Cut the work into items; their number. */
static inline int64_t carry_items(carry_job_t *job) {
    int64_t rows = 1, planes = 1;
    carry_merge(job);
    for (int axis = 0; axis < CARRY_AXES - 1; axis++) rows *= job->size[axis];
    for (int axis = 3; axis < CARRY_AXES - 1; axis++) planes *= job->size[axis];
    if (rows == 0 || job->size[CARRY_AXES - 1] == 0) return 0;
    job->parts = 1;
    job->rows_per_item = max64(CARRY_BLOCK / job->size[CARRY_AXES - 1], 1);
    if (job->result_index[0] != NULL || job->result_index[1] != NULL || job->result_index[2] != NULL)
        job->rows_per_item = round_up(job->rows_per_item, planes);
    else if (job->rows_per_item == 1)
        job->parts = div_up(job->size[CARRY_AXES - 1], CARRY_BLOCK);
    return div_up(rows, job->rows_per_item) * job->parts;
}

#endif
