/* What the channel sums kernel computes, the gradient for a bias:
 *
 *     result[c] = sum over n, d, h, w of  source[n, c, d, h, w]
 *
 * Layout. Strides are in elements, those of the source of any sign. Items are channels, or blocks of SUM_CHANNELS
 * neighbours where channels lie beside each other. Complex numbers are two jobs, one for each of their parts. */
#ifndef FASTCONV_CHANNEL_SUMS_JOB_H
#define FASTCONV_CHANNEL_SUMS_JOB_H

#include "integers.h"

#define SUM_CHANNELS 16

typedef struct {
    int64_t channels;
    int64_t channel_stride;
    int64_t result_stride;
    int64_t size[4]; /* n, d, h, w */
    int64_t stride[4];
    const char *source;
    char *result;
} channel_sums_job_t;

static inline int64_t channel_sums_items(const channel_sums_job_t *job) {
    return job->channel_stride == 1 ? div_up(job->channels, SUM_CHANNELS) : job->channels;
}

#endif
