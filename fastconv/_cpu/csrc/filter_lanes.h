/* What kernels compute that have the filters of all groups as lanes: correlations with packed weights, and weight
 * gradients as sums of splits of the rows. engine/filter_lanes.pyx runs them. */
#ifndef FASTCONV_FILTER_LANES_H
#define FASTCONV_FILTER_LANES_H

#include "correlation.h"
#include "integers.h"

typedef struct {
    correlation_t correlation; /* delta >= 1 */
    epilogue_t epilogue;
    char *factors; /* weights, in the room's own order */
    char *spoiled; /* one byte, set where a weight is not finite */
} packed_phase_t;

/* backward_weight: the sums of every split of the rows of all images, added up in the end. */
typedef struct {
    correlation_t correlation;
    int64_t splits;
    int64_t parts;      /* of the filters; an item takes one */
    int64_t pass_first; /* rows [pass_first, pass_first + pass_rows) of every split are added in this pass */
    int64_t pass_rows;
    char *partial; /* sums: [split][vector of filters][tap][channel of a group][lane] */
    char *spoiled; /* one byte, set where a sum is not finite */
} row_splits_t;

static inline int64_t row_count(const correlation_t *c) { return c->batch * c->pixels[0] * c->pixels[1]; }
static inline int64_t split_rows(const row_splits_t *job) { return div_up(row_count(&job->correlation), job->splits); }

#endif
