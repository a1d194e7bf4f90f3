/* What the kernels compute: correlations with few channels and filters in every group. */
#ifndef FASTCONV_SMALL_GROUPS_JOB_H
#define FASTCONV_SMALL_GROUPS_JOB_H

#include "filter_lanes.h"

/* Channels of a group at most, and no less than the lanes of a vector. */
#define SMALL_GROUPS_CHANNELS 64

/* On every axis pixel p reads elements [p*step + low, p*step + high) of the source, in one of the phases. */
typedef struct {
    int64_t low[3];
    int64_t high[3];
} small_groups_reach_t;

typedef struct {
    const packed_phase_t *phases; /* stride phases of backward_input, the largest first; else one */
    int64_t phase_count;
    int64_t band;               /* rows of an item, in every phase */
    int64_t columns;            /* and columns */
    int64_t parts;              /* of the vectors of filters, none of which overlap where there are several */
    small_groups_reach_t reach; /* of all phases */
    int64_t transposed_pixels;  /* room for as many pixels of the result of a band in all phases, or 0 */
    int64_t apart[2];           /* rows and columns of the result from one of a phase to its next */
    int64_t result[2];          /* rows and columns of the result, all phases together */
} small_groups_job_t;

/* backward_weight */
typedef struct {
    row_splits_t splits;
    int64_t band; /* rows and columns that are summed together */
    int64_t columns;
    small_groups_reach_t reach;
} small_groups_gradient_job_t;

static inline int64_t small_groups_bands(const small_groups_job_t *job) {
    return div_up(job->phases[0].correlation.pixels[1], job->band);
}
static inline int64_t small_groups_items(const small_groups_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return c->batch * c->pixels[0] * small_groups_bands(job) * div_up(c->pixels[2], job->columns) * job->parts;
}

/* Makes `reach` hold what all taps of a correlation read; reaches start with small_groups_no_reach, to which sizes may
 * still be added. */
#define SMALL_GROUPS_FAR (INT64_MAX / 4)
static const small_groups_reach_t small_groups_no_reach = {{SMALL_GROUPS_FAR, SMALL_GROUPS_FAR, SMALL_GROUPS_FAR},
                                                           {-SMALL_GROUPS_FAR, -SMALL_GROUPS_FAR, -SMALL_GROUPS_FAR}};
static inline void small_groups_extend(small_groups_reach_t *reach, const correlation_t *c) {
    for (int axis = 0; axis < 3 && tap_count(c) > 0; axis++) {
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

#define ROOM small_groups
#include "room.h"

#endif
