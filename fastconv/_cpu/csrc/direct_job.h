/* What the direct kernels compute: a correlation, its epilogue, how it is cut into items and how scratch is laid out.
 *
 * An item copies the source rows that it needs into a panel of scratch, zeros around them, and sums over it with
 * accumulators in registers. Lanes run along the width (unit 1) or along `unit` result channels side by side.
 *
 * Dilation of the depth and height axes is done away with by cutting the pixels into classes, those `spacing` =
 * delta / gcd(step, delta) apart: within a class tap t of pixel q reads panel row q*step/gcd + t, which holds source
 * row first + delta*(q*step/gcd + t). The width axis stays whole: column step*j + r of the source is entry j of slot r,
 * so that every tap of consecutive pixels is consecutive in its slot. */
#ifndef FASTCONV_DIRECT_JOB_H
#define FASTCONV_DIRECT_JOB_H

#include "correlation.h"
#include "integers.h"

#define DIRECT_ROWS 4   /* accumulators of a register tile: rows or filters */
#define DIRECT_WIDE 3   /* its vectors, with more than one accumulator each */
#define DIRECT_WIDEST 8 /* its vectors, with one */

typedef struct {
    correlation_t correlation; /* delta >= 1; 1 on axes of at most one tap */
    epilogue_t epilogue;
    int64_t unit;     /* 1: lanes along the width; else the result channels of a panel entry, a multiple of the lanes */
    int64_t block;    /* groups of an item (unit 1), units of an item (else); not in the weight gradient */
    int64_t band[3];  /* pixels of an item, of one class */
    int64_t panel[3]; /* slices, rows, and entries of a slot of one channel's panel; no correlation needs more */
    int64_t slots;
    int64_t out_pitch;  /* entries of a row of finished sums (weight gradient: of a row of the output gradient) */
    int64_t partials;   /* weight gradient: parts of the pixels, summed apart */
    char *partial;      /* weight gradient: [part][filter over all groups][channel][tap]; NULL with one part */
    int64_t factors_at; /* bytes from the start of scratch, where the panel is */
    int64_t out_at;     /* finished sums on their way; weight gradient: right-hand ends of rows, cut off */
    int64_t sums_at;    /* weight gradient: [filter][channel][tap][lane] */
    int64_t slices_at;  /* direct_slice_t of one product */
    int64_t offsets_at; /* int64_t by tap (weight gradient: by vector of a row) */
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
    int64_t spacing[3];
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

static inline int64_t direct_spacing(const correlation_t *c, int axis) {
    return axis == 2 ? 1 : c->delta[axis] / greatest_common_divisor(c->step[axis], c->delta[axis]);
}
/* Panel rows (entries of a slot on the width axis) from one pixel of a class to the next. */
static inline int64_t direct_step(const correlation_t *c, int axis) {
    return axis == 2 ? 1 : c->step[axis] / greatest_common_divisor(c->step[axis], c->delta[axis]);
}
static inline int64_t direct_taps(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }

/* Regions of one image. */
static inline int64_t direct_regions(const direct_job_t *job) {
    int64_t regions = 1;
    for (int axis = 0; axis < 3; axis++) {
        int64_t pixels = job->correlation.pixels[axis], spacing = direct_spacing(&job->correlation, axis);
        regions *= min64(spacing, pixels) * div_up(div_up(pixels, spacing), job->band[axis]);
    }
    return regions;
}

/* Region `index` of an image; 0 when it holds no pixel. */
static inline int direct_region(const direct_job_t *job, int64_t index, direct_region_t *region) {
    int filled = 1;
    for (int axis = 2; axis >= 0; axis--) {
        const int64_t pixels = job->correlation.pixels[axis], spacing = direct_spacing(&job->correlation, axis);
        const int64_t classes = min64(spacing, pixels), bands = div_up(div_up(pixels, spacing), job->band[axis]);
        const int64_t band = index % bands, class = index / bands % classes;
        const int64_t total = div_up(pixels - class, spacing), begin = band * job->band[axis];
        index /= bands * classes;
        region->first[axis] = class + spacing * begin;
        region->spacing[axis] = spacing;
        region->count[axis] = min64(job->band[axis], total - begin);
        filled &= region->count[axis] > 0;
    }
    return filled;
}

static inline int64_t direct_parts(const direct_job_t *job) {
    const correlation_t *c = &job->correlation;
    return job->unit == 1 ? div_up(c->groups, job->block) : div_up(c->groups * c->filters, job->unit * job->block);
}
static inline int64_t direct_correlate_items(const direct_job_t *job) {
    return job->correlation.batch * direct_parts(job) * direct_regions(job);
}

/* Weight gradient: filters of one item, at most DIRECT_ROWS and as even as possible. */
static inline int64_t direct_filters(const correlation_t *c) {
    return c->filters == 0 ? 1 : div_up(c->filters, div_up(c->filters, DIRECT_ROWS));
}
static inline int64_t direct_weight_items(const direct_job_t *job) {
    const correlation_t *c = &job->correlation;
    return job->partials * (job->unit == 1 ? c->groups * div_up(c->filters, direct_filters(c))
                                           : div_up(c->groups * c->filters, job->unit));
}

/* The panel of a region's source. */
static inline direct_window_t direct_source_window(const direct_job_t *job, const direct_region_t *region) {
    const correlation_t *c = &job->correlation;
    const int64_t row = job->slots * job->panel[2] * job->unit;
    direct_window_t window = {.pitch = {job->panel[1] * row, row, job->panel[2] * job->unit}};
    for (int axis = 0; axis < 3; axis++) {
        window.start[axis] = region->first[axis] * c->step[axis] + c->first[axis];
        window.step[axis] = axis == 2 ? c->step[axis] : c->delta[axis];
        window.size[axis] = c->source_size[axis];
        window.count[axis] = (region->count[axis] - 1) * direct_step(c, axis) + c->taps[axis];
    }
    window.slots = min64(c->step[2] / greatest_common_divisor(c->step[2], c->delta[2]), c->taps[2]);
    window.slot_shift = c->delta[2];
    window.count[2] = region->count[2] + (c->taps[2] - 1) * c->delta[2] / c->step[2];
    return window;
}

/* Where tap t of the width axis finds the first pixel, in elements of a panel row. */
static inline int64_t direct_tap_offset(const direct_job_t *job, int64_t t) {
    const correlation_t *c = &job->correlation;
    const int64_t slots = c->step[2] / greatest_common_divisor(c->step[2], c->delta[2]);
    return (t % slots * job->panel[2] + t * c->delta[2] / c->step[2]) * job->unit;
}

#endif
