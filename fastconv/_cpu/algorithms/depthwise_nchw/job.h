/* What the kernels compute: correlations with one channel and one filter in every group, of images whose
 * rows are neighbours in memory, read where they lie. */
#ifndef FASTCONV_DEPTHWISE_NCHW_JOB_H
#define FASTCONV_DEPTHWISE_NCHW_JOB_H

#include "correlation.h"
#include "integers.h"

#define NCHW_ROWS 7     /* of pixels in a register tile; most images have a multiple of 7 */
#define NCHW_SETS 4096  /* bytes: lines so far apart share a set of a first-level cache */
#define NCHW_AHEAD 2048 /* bytes: prefetches go so far ahead, at least */

typedef struct {
    correlation_t correlation; /* delta 1, one slice */
    epilogue_t epilogue;
} nchw_phase_t;

typedef struct {
    const nchw_phase_t *phases; /* one, or the 2 x 2 stride phases of backward_input, rows before columns */
    int64_t row_phases;
    int64_t sides;          /* column phases: 1 or 2 */
    int64_t block;          /* channels of an item */
    int64_t band;           /* rows of pixels of an item, in every phase */
    int64_t before;         /* columns that are read in front of a source row, at most */
    int64_t after;          /* and behind it */
    int64_t pitch;          /* elements of a copied row of the source: both and its width */
    int64_t gradient_pitch; /* weight gradient: of a copied row of the output gradient */
    int64_t partials;       /* weight gradient: parts of the bands of all images, summed apart */
    char *partial;          /* weight gradient: [part][channel][tap]; NULL with one part */
    /* bytes from the start of scratch, where the zeros of a row lie */
    int64_t masks_at;    /* which lanes count: [side][vector of a row][width tap; weight gradient: and the pixels] */
    int64_t columns_at;  /* for [side][vector of a row] its masks */
    int64_t factors_at;  /* [side][width tap][height tap] */
    int64_t source_at;   /* a band of the source, where it cannot be read in place */
    int64_t gradient_at; /* weight gradient: the same of the output gradient; else rows of results on their way */
    int64_t sums_at;     /* weight gradient: [channel][width tap][height tap][lane] */
} nchw_job_t;

/* Rows of the next tile when `left` are to be computed: all tiles are as even as possible. */
static inline int64_t nchw_height(int64_t left) {
    return left % NCHW_ROWS == 0 ? NCHW_ROWS : div_up(left, div_up(left, NCHW_ROWS));
}

static inline int64_t nchw_bands(const nchw_job_t *job) {
    return div_up(job->phases[0].correlation.pixels[1], job->band);
}
static inline int64_t nchw_items(const nchw_job_t *job) {
    const correlation_t *c = &job->phases[0].correlation;
    return c->batch * div_up(c->groups, job->block) * nchw_bands(job);
}
static inline int64_t nchw_weight_items(const nchw_job_t *job) {
    return job->partials * div_up(job->phases[0].correlation.groups, job->block);
}

#define ROOM depthwise_nchw
#include "room.h"

#endif
