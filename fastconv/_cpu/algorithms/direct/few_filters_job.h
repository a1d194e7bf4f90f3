/* Correlations with few result channels: how they are cut into items and how scratch is laid out.
 *
 * An item is one box of pixels of one group of one image, the same pixel numbers in every stride phase: these read the
 * same source, which is copied once, `channels` channels at a time, into planes of scratch. All sums over these
 * channels are added to those over the channels before.
 *
 * A plane is [slice][row][entry], its entry 0 source index origin + first pixel; every phase reads a part of it. Rows
 * of a plane are as far apart as those of finished sums (`runs_on`), so that vectors of pixels run on from one row to
 * the next, or both begin with whole vectors. */
#ifndef FASTCONV_FEW_FILTERS_JOB_H
#define FASTCONV_FEW_FILTERS_JOB_H

#include "correlation.h"
#include "integers.h"

typedef struct {
    correlation_t correlation; /* step 1, delta >= 1 */
    epilogue_t epilogue;
    char *factors; /* [filter over all groups][channel][tap] */
} few_filters_phase_t;

typedef struct {
    const few_filters_phase_t *phases; /* that of the w axis varies fastest */
    int64_t phase_count;
    int64_t row_phases; /* those that differ on the w axis alone, and so lie between each other */
    int64_t channels;
    int64_t bands[3];
    int64_t band[3];
    int64_t origin[3]; /* the first entry that any phase reads */
    int64_t reach[3];  /* entries beyond the pixels that phases read */
    int64_t panel[3];  /* slices, rows, and elements from a row to the next */
    int64_t lead;      /* elements before a row's entry 0 */
    int64_t plane;     /* elements from a channel to the next */
    int runs_on;
    int64_t out_pitch;
    int64_t out_slice;  /* elements of finished sums of one slice of one filter */
    int64_t panel_at;   /* bytes from the start of scratch */
    int64_t out_at;     /* [phase][filter][slice][row][out_pitch]; with one block of channels, of `row_phases` phases */
    int64_t offsets_at; /* int64_t by channel and tap of a block */
} few_filters_job_t;

/* Pixels [first, first + count) on each axis. */
typedef struct {
    int64_t first[3];
    int64_t count[3];
} few_filters_box_t;

static inline int64_t few_filters_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }

static inline int64_t few_filters_items(const few_filters_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return c->batch * c->groups * job->bands[0] * job->bands[1] * job->bands[2];
}

/* Box `index` of an image; 0 when it holds no pixel of the phase. */
static inline int few_filters_box(const few_filters_job_t *job, const correlation_t *c, int64_t index,
                                  few_filters_box_t *box) {
    int filled = 1;
    for (int axis = 2; axis >= 0; axis--) {
        box->first[axis] = index % job->bands[axis] * job->band[axis];
        box->count[axis] = min64(job->band[axis], c->pixels[axis] - box->first[axis]);
        index /= job->bands[axis];
        filled &= box->count[axis] > 0;
    }
    return filled;
}

#endif
