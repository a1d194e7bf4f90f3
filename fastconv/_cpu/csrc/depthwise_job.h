/* What the depthwise kernels compute: correlations with one channel and one filter in every group. */
#ifndef FASTCONV_DEPTHWISE_JOB_H
#define FASTCONV_DEPTHWISE_JOB_H

#include "correlation.h"
#include "integers.h"

typedef struct {
    correlation_t sum; /* delta >= 1 */
    epilogue_t epilogue;
    char *factors; /* weights: [tap][channel] */
    char *spoiled; /* one byte, set where a weight is not finite */
} depthwise_phase_t;

typedef struct {
    const depthwise_phase_t *phases; /* stride phases of backward_input, the largest first; else one */
    int64_t phase_count;
    int64_t band; /* rows of an item, in every phase */
} depthwise_job_t;

static inline int64_t depthwise_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }
static inline int64_t depthwise_bands(const depthwise_job_t *job) {
    return div_up(job->phases[0].sum.pixels[1], job->band);
}
static inline int64_t depthwise_items(const depthwise_job_t *job) {
    return job->phases[0].sum.batch * job->phases[0].sum.pixels[0] * depthwise_bands(job);
}

/* Pixels [*begin, *end) of a row find all their taps inside the source. */
static inline void depthwise_interior(const correlation_t *c, int64_t *begin, int64_t *end) {
    const int64_t pixels = c->pixels[2], room = c->source_size[2] - 1 - c->first[2] - (c->taps[2] - 1) * c->delta[2];
    *begin = c->first[2] < 0 ? min64(div_up(-c->first[2], c->step[2]), pixels) : 0;
    *end = room < 0 ? *begin : max64(*begin, min64(room / c->step[2] + 1, pixels));
}

#endif
