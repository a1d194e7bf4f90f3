/* What the direct kernels compute: correlations, their epilogues, how they are cut into items and how scratch is laid
 * out.
 *
 * An item copies the source rows that it needs into a panel of scratch, zeros around them, and sums over it with
 * accumulators in registers. Lanes run along the width (unit 1: one group at a time) or along the result channels,
 * `unit` of them at a time: a panel for every vector of channels, whose entries are vectors.
 *
 * Dilation of the depth and height axes is removed by cutting the pixels into classes of pixels `spacing` =
 * delta / gcd(step, delta) apart: within a class tap t of pixel q reads panel row q*advance + t, advance = step / gcd,
 * which holds source row first + delta*(q*advance + t). The width axis stays whole: column step*j + r of the source is
 * entry j of the slot of r, so that every tap of consecutive pixels is consecutive in its slot. */
#ifndef FASTCONV_DIRECT_JOB_H
#define FASTCONV_DIRECT_JOB_H

#include "correlation.h"
#include "integers.h"

#define DIRECT_ROWS 4   /* accumulators of a register tile: rows or filters */
#define DIRECT_WIDE 3   /* its vectors, with more than one accumulator each */
#define DIRECT_WIDEST 8 /* its vectors, with one */

typedef struct {
    correlation_t correlation; /* delta >= 1 */
    epilogue_t epilogue;
} direct_phase_t;

typedef struct {
    const direct_phase_t *phases; /* stride phases of backward_input, of the same delta and step; else one */
    int64_t phase_count;
    int64_t unit;  /* 1: lanes along the width; else result channels that are gathered together, whole vectors */
    int64_t entry; /* elements of a panel entry: 1, else the lanes */
    int64_t
        block; /* groups of an item (unit 1), units of an item (else); weight gradient: filters of an item (unit 1) */
    int64_t spacing[3];
    int64_t advance[3];
    int64_t classes[3];
    int64_t bands[3]; /* of the largest class */
    int64_t band[3];  /* pixels of an item, of one class */
    int64_t panel[3]; /* slices, rows, and entries of a slot of a panel; no phase needs more */
    int64_t slots;
    int64_t out_pitch;  /* elements of a row of finished sums (weight gradient: of a row of the output gradient) */
    int64_t is_listed;  /* where nothing slides, the taps of all channels are listed one by one: there is room for it */
    int64_t partials;   /* weight gradient: partial sums, each over a part of the pixels */
    char *partial;      /* weight gradient: [part][filter over all groups][channel][tap]; NULL with one part */
    int64_t factors_at; /* bytes from the start of scratch, where the panel is */
    int64_t out_at;  /* finished sums on their way: [filter or vector][row][out_pitch]; weight gradient: right-hand ends
                        of rows, cut off */
    int64_t sums_at; /* weight gradient: [filter][channel][tap][lane] */
    int64_t slices_at;  /* direct_slice_t of one product */
    int64_t taps_at;    /* int64_t by width tap: where it finds the first pixel, in elements of a panel row */
    int64_t offsets_at; /* int64_t by listed tap, from the first pixel; weight gradient: by vector of a row */
    int64_t lanes_at;   /* int64_t by lane of a unit: offset of its source channel, then of its result channel */
} direct_job_t;

/* A run of panel rows that meets a run of factor rows. */
typedef struct {
    int64_t source;
    int64_t factor;
    int64_t rows;
} direct_slice_t;

/* Pixels first, first + spacing, ... (count of them) on each axis. */
typedef struct {
    int64_t first[3];
    int64_t count[3];
} direct_region_t;

/* A box of an array as it lies in a panel: index i of an axis is array index start + i*step, zero outside of the array.
 * On the width axis slot s starts s*slot_shift (mod step) later. */
typedef struct {
    int64_t start[3];
    int64_t step[3];
    int64_t size[3];
    int64_t count[3];
    int64_t slots;
    int64_t slot_shift;
    int64_t pitch[3]; /* of slices, rows and slots in the panel, in elements */
} direct_window_t;

static inline int64_t direct_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }

/* Regions of one image. */
static inline int64_t direct_regions(const direct_job_t *job) {
    int64_t regions = 1;
    for (int axis = 0; axis < 3; axis++) regions *= job->classes[axis] * job->bands[axis];
    return regions;
}

/* Region `index` of an image in one phase; 0 when it holds no pixel. */
static inline int direct_region(const direct_job_t *job, const correlation_t *c, int64_t index,
                                direct_region_t *region) {
    int filled = 1;
    for (int axis = 2; axis >= 0; axis--) {
        const int64_t begin = index % job->bands[axis] * job->band[axis];
        const int64_t class = index / job->bands[axis] % job->classes[axis];
        index /= job->bands[axis] * job->classes[axis];
        region->first[axis] = class + job->spacing[axis] * begin;
        region->count[axis] =
            min64(job->band[axis], div_up(max64(c->pixels[axis] - class, 0), job->spacing[axis]) - begin);
        filled &= region->count[axis] > 0;
    }
    return filled;
}

static inline int64_t direct_parts(const direct_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return job->unit == 1 ? div_up(c->groups, job->block) : div_up(c->groups * c->filters, job->unit * job->block);
}
static inline int64_t direct_correlate_items(const direct_job_t *job) {
    return job->phases[0].correlation.batch * direct_parts(job) * direct_regions(job);
}

/* Filters that a tile takes together: at most DIRECT_ROWS and as even as possible. */
static inline int64_t direct_filters(const correlation_t *c) {
    return c->filters == 0 ? 1 : div_up(c->filters, div_up(c->filters, DIRECT_ROWS));
}
static inline int64_t direct_weight_items(const direct_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return job->partials *
           (job->unit == 1 ? c->groups * div_up(c->filters, job->block) : div_up(c->groups * c->filters, job->unit));
}

/* The panel of a region's source. */
static inline direct_window_t direct_source_window(const direct_job_t *job, const correlation_t *c,
                                                   const direct_region_t *region) {
    const int64_t slot = job->panel[2] * job->entry, row = job->slots * slot;
    direct_window_t window = {.slot_shift = c->delta[2], .pitch = {job->panel[1] * row, row, slot}};
    for (int axis = 0; axis < 3; axis++) {
        window.start[axis] = region->first[axis] * c->step[axis] + c->first[axis];
        window.step[axis] = axis == 2 ? c->step[axis] : c->delta[axis];
        window.size[axis] = c->source_size[axis];
        window.count[axis] = (region->count[axis] - 1) * job->advance[axis] + c->taps[axis];
    }
    window.slots = min64(job->slots, c->taps[2]);
    window.count[2] = region->count[2] + (c->taps[2] - 1) * c->delta[2] / c->step[2];
    return window;
}

static inline void direct_tap_offsets(const direct_job_t *job, const correlation_t *c, int64_t *taps) {
    for (int64_t t = 0; t < c->taps[2]; t++)
        taps[t] = (t % job->slots * job->panel[2] + t * c->delta[2] / c->step[2]) * job->entry;
}

#include "few_filters_job.h"

#define ROOM direct
#include "room.h"

#endif
