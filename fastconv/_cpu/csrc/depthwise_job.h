/* What the depthwise and grouped kernels compute: correlations with one channel and one filter in every group, or few
 * of them. */
#ifndef FASTCONV_DEPTHWISE_JOB_H
#define FASTCONV_DEPTHWISE_JOB_H

#include "correlation.h"
#include "integers.h"

/* Channels of a group at most, and no less than the lanes of a vector. */
#define GROUPED_CHANNELS 64

typedef struct {
    correlation_t sum; /* delta >= 1 */
    epilogue_t epilogue;
    char *factors; /* weights: [tap][channel], or as grouped.h says */
    char *spoiled; /* one byte, set where a weight is not finite */
} depthwise_phase_t;

typedef struct {
    const depthwise_phase_t *phases; /* stride phases of backward_input, the largest first; else one */
    int64_t phase_count;
    int64_t band; /* rows of an item, in every phase */
} depthwise_job_t;

/* backward_weight: the sums of every split of the rows of all images, added up in the end. */
typedef struct {
    correlation_t sum;
    int64_t splits;
    int64_t parts;      /* of the filters; an item takes one */
    int64_t pass_first; /* rows [pass_first, pass_first + pass_rows) of every split are added in this pass */
    int64_t pass_rows;
    char *partial; /* sums: [split][vector of filters][tap][channel of a group][lane] */
    char *spoiled; /* one byte, set where a sum is not finite */
} depthwise_gradient_job_t;

static inline int64_t depthwise_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }
static inline int64_t depthwise_bands(const depthwise_job_t *job) {
    return div_up(job->phases[0].sum.pixels[1], job->band);
}
static inline int64_t depthwise_items(const depthwise_job_t *job) {
    return job->phases[0].sum.batch * job->phases[0].sum.pixels[0] * depthwise_bands(job);
}

static inline int64_t depthwise_rows(const correlation_t *c) { return c->batch * c->pixels[0] * c->pixels[1]; }
static inline int64_t depthwise_split_rows(const depthwise_gradient_job_t *job) {
    return div_up(depthwise_rows(&job->sum), job->splits);
}

/* Pixels [*begin, *end) of a row find `taps` of its taps inside the source, the first of which reads column `first`
 * at pixel 0. */
static inline void depthwise_interior(const correlation_t *c, int64_t first, int64_t taps, int64_t *begin,
                                      int64_t *end) {
    const int64_t pixels = c->pixels[2], room = c->source_size[2] - 1 - first - (taps - 1) * c->delta[2];
    *begin = first < 0 ? min64(div_up(-first, c->step[2]), pixels) : 0;
    *end = room < 0 ? *begin : max64(*begin, min64(room / c->step[2] + 1, pixels));
}

#endif
