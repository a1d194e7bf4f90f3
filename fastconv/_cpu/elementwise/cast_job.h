/* What the cast kernel computes: result[i] = source[i] in another element type.
 *
 * Layout. Both are runs of `count` neighbouring elements that do not overlap; items are blocks of CAST_BLOCK elements.
 */
#ifndef FASTCONV_CAST_JOB_H
#define FASTCONV_CAST_JOB_H

#include "integers.h"

#define CAST_BLOCK 32768

typedef enum { FLOAT16_TO_FLOAT32, FLOAT32_TO_FLOAT16, BFLOAT16_TO_FLOAT32, FLOAT32_TO_BFLOAT16 } cast_t;

typedef struct {
    cast_t cast;
    int64_t count;
    const char *source;
    char *result;
} cast_job_t;

static inline int64_t cast_items(const cast_job_t *job) { return div_up(job->count, CAST_BLOCK); }

#endif
