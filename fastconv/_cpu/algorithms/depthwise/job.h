/* What the kernels of depthwise convolutions and small groups compute: correlations with one channel and one filter in
 * every group, or few of them. */
#ifndef FASTCONV_DEPTHWISE_JOB_H
#define FASTCONV_DEPTHWISE_JOB_H

#include "correlation.h"
#include "integers.h"

/* Channels of a group at most, and no less than the lanes of a vector. */
#define SMALL_GROUPS_CHANNELS 64

typedef struct {
    correlation_t sum; /* delta >= 1 */
    epilogue_t epilogue;
    char *factors; /* weights: [tap][channel], or as small_groups.h says */
    char *spoiled; /* one byte, set where a weight is not finite */
} depthwise_phase_t;

/* On every axis pixel p reads elements [p*step + low, p*step + high) of the source, in one of the phases. */
typedef struct {
    int64_t low[3];
    int64_t high[3];
} small_groups_reach_t;

typedef struct {
    const depthwise_phase_t *phases; /* stride phases of backward_input, the largest first; else one */
    int64_t phase_count;
    int64_t band;               /* rows of an item, in every phase */
    int64_t columns;            /* and columns */
    int64_t parts;              /* of the vectors of filters, none of which overlap where there are several */
    small_groups_reach_t reach; /* small groups: of all phases */
    int64_t turns;              /* small groups: room for as many pixels of the result of a band in all phases, or 0 */
    int64_t apart[2];           /* small groups: rows and columns of the result from one of a phase to its next */
    int64_t result[2];          /* small groups: rows and columns of the result, all phases together */
} depthwise_job_t;

/* backward_weight: the sums of every split of the rows of all images, added up in the end. */
typedef struct {
    correlation_t sum;
    int64_t splits;
    int64_t parts;      /* of the filters; an item takes one */
    int64_t pass_first; /* rows [pass_first, pass_first + pass_rows) of every split are added in this pass */
    int64_t pass_rows;
    int64_t band; /* small groups: rows and columns that are summed together */
    int64_t columns;
    small_groups_reach_t reach; /* small groups */
    char *partial;              /* sums: [split][vector of filters][tap][channel of a group][lane] */
    char *spoiled;              /* one byte, set where a sum is not finite */
} depthwise_gradient_job_t;

static inline int64_t depthwise_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }
static inline int64_t depthwise_bands(const depthwise_job_t *job) {
    return div_up(job->phases[0].sum.pixels[1], job->band);
}
static inline int64_t depthwise_items(const depthwise_job_t *job) {
    const correlation_t *c = &job->phases[0].sum;
    return c->batch * c->pixels[0] * depthwise_bands(job) * div_up(c->pixels[2], job->columns) * job->parts;
}

static inline int64_t depthwise_rows(const correlation_t *c) { return c->batch * c->pixels[0] * c->pixels[1]; }
static inline int64_t depthwise_split_rows(const depthwise_gradient_job_t *job) {
    return div_up(depthwise_rows(&job->sum), job->splits);
}

/* Makes `reach` hold what all taps of a correlation read; reaches start with small_groups_no_reach, to which sizes may
 * still be added. */
#define SMALL_GROUPS_FAR (INT64_MAX / 4)
static const small_groups_reach_t small_groups_no_reach = {{SMALL_GROUPS_FAR, SMALL_GROUPS_FAR, SMALL_GROUPS_FAR},
                                                           {-SMALL_GROUPS_FAR, -SMALL_GROUPS_FAR, -SMALL_GROUPS_FAR}};
static inline void small_groups_extend(small_groups_reach_t *reach, const correlation_t *c) {
    for (int axis = 0; axis < 3 && depthwise_taps(c) > 0; axis++) {
        reach->low[axis] = min64(reach->low[axis], c->first[axis]);
        reach->high[axis] = max64(reach->high[axis], c->first[axis] + (c->taps[axis] - 1) * c->delta[axis] + 1);
    }
}

/* Elements of the source, inside of it or not, that `pixels` neighbours on an axis read. */
static inline int64_t small_groups_extent(const correlation_t *c, const small_groups_reach_t *reach, int axis,
                                          int64_t pixels) {
    if (reach->low[axis] >= reach->high[axis]) return 0;
    return (pixels - 1) * c->step[axis] + reach->high[axis] - reach->low[axis];
}

/* Vectors of channels that a block of filters reads: of its group, or of all groups of one vector. */
static inline int64_t small_groups_vectors(const correlation_t *c, int64_t lanes) {
    return c->filters % lanes == 0 ? div_up(c->channels, lanes) : 1;
}

/* Elements that are copied for a band of one block, beside `others` pixels of other arrays. */
static inline int64_t small_groups_copy_size(const correlation_t *c, const small_groups_reach_t *reach, int64_t rows,
                                             int64_t columns, int64_t lanes, int64_t others) {
    const int64_t planes = min64(small_groups_extent(c, reach, 0, 1), c->source_size[0]);
    const int64_t height = min64(small_groups_extent(c, reach, 1, rows), c->source_size[1]);
    return lanes *
           (planes * height * small_groups_extent(c, reach, 2, columns) * small_groups_vectors(c, lanes) + others);
}

/* Pixels [*begin, *end) of a row find `taps` of its taps inside the source, the first of which reads column `first`
 * at pixel 0. */
static inline void depthwise_interior(const correlation_t *c, int64_t first, int64_t taps, int64_t *begin,
                                      int64_t *end) {
    const int64_t pixels = c->pixels[2], room = c->source_size[2] - 1 - first - (taps - 1) * c->delta[2];
    *begin = first < 0 ? min64(div_up(-first, c->step[2]), pixels) : 0;
    *end = room < 0 ? *begin : max64(*begin, min64(room / c->step[2] + 1, pixels));
}

#define ROOM depthwise
#include "room.h"

#endif
