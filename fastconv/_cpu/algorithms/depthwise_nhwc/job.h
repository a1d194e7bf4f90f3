/* What the kernels compute: correlations with one channel and one filter in every group, of channels-last arrays. */
#ifndef FASTCONV_DEPTHWISE_NHWC_JOB_H
#define FASTCONV_DEPTHWISE_NHWC_JOB_H

#include "filter_lanes.h"

typedef struct {
    const packed_phase_t *phases; /* stride phases of backward_input, the largest first; else one */
    int64_t phase_count;
    int64_t band; /* rows of an item, in every phase */
} nhwc_job_t;

static inline int64_t nhwc_bands(const nhwc_job_t *job) {
    return div_up(job->phases[0].correlation.pixels[1], job->band);
}
static inline int64_t nhwc_items(const nhwc_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return c->batch * c->pixels[0] * nhwc_bands(job);
}

/* Pixels [*begin, *end) of a row find `taps` of its taps inside the source, the first of which reads column `first`
 * at pixel 0. */
static inline void nhwc_interior(const correlation_t *c, int64_t first, int64_t taps, int64_t *begin, int64_t *end) {
    const int64_t pixels = c->pixels[2], room = c->source_size[2] - 1 - first - (taps - 1) * c->delta[2];
    *begin = first < 0 ? min64(div_up(-first, c->step[2]), pixels) : 0;
    *end = room < 0 ? *begin : max64(*begin, min64(room / c->step[2] + 1, pixels));
}

#define ROOM depthwise_nhwc
#include "room.h"

#endif
