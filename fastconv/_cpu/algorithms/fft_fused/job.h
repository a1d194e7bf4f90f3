/* What the kernels of fused Fourier transforms compute: correlations as products of spectra of overlapping tiles. */
#ifndef FASTCONV_FFT_FUSED_JOB_H
#define FASTCONV_FFT_FUSED_JOB_H

#include "correlation.h"
#include "integers.h"

#define TRANSFORM_STAGES 6
#define FFT_FUSED_COPIES 16 /* rows of a pair of tiles that are read or stored together, at most */

typedef struct {
    int64_t size; /* the product of the radices */
    int64_t stages;
    int64_t radix[TRANSFORM_STAGES];
    int64_t part[TRANSFORM_STAGES]; /* points of a block over the radix: from the size down to 1 */
    int64_t first_twiddle[TRANSFORM_STAGES];
    const char *twiddles;
} transform_t;

typedef struct {
    correlation_t correlation; /* step 1, one slice, delta not negative */
    epilogue_t epilogue;
    transform_t down;          /* along the columns of a tile */
    transform_t across;        /* along its rows */
    const char *long_twiddles; /* of a signal: what its long transform multiplies by in between; else NULL */
    int64_t results[2];        /* rows and columns of results of a tile; of a signal 1 and all of them */
    int64_t tiles[2];          /* of an image, rows and columns */
    int64_t partials;          /* weight gradient: parts of the pairs of all images, summed apart */
    int64_t round_first;       /* weight gradient: the first pair of each part that is added up in this round */
    int64_t round_pairs;       /* and how many */
    char *spectra;             /* of kernels: [group][filter][channel][point]; weight gradient: [partial] before it */
    unsigned char *spoiled;    /* by image; weight gradient: one: results are not all finite */
} fft_fused_job_t;

static inline int64_t fft_fused_points(const fft_fused_job_t *job) { return job->down.size * job->across.size; }
/* Elements of a tile whose vectors lie apart by more than its columns, so as not to share sets of a first-level cache.
 */
static inline int64_t fft_fused_pitch(const fft_fused_job_t *job, int64_t lanes) {
    return 2 * lanes * (job->down.size + 1);
}
static inline int64_t fft_fused_tile_size(const fft_fused_job_t *job, int64_t lanes) {
    return job->across.size / lanes * fft_fused_pitch(job, lanes);
}
/* Of LANES rows, or of copies. */
static inline int64_t fft_fused_rows_size(const fft_fused_job_t *job, int64_t lanes) {
    return job->across.size * max64(2 * lanes, FFT_FUSED_COPIES);
}
static inline int64_t fft_fused_pairs(const fft_fused_job_t *job) { return div_up(job->tiles[0] * job->tiles[1], 2); }
static inline int64_t fft_fused_kernels(const fft_fused_job_t *job) {
    return job->correlation.groups * job->correlation.filters * job->correlation.channels;
}
static inline int64_t fft_fused_items(const fft_fused_job_t *job) {
    return job->correlation.batch * job->correlation.groups * fft_fused_pairs(job);
}
static inline int64_t fft_fused_gradient_items(const fft_fused_job_t *job) {
    return job->correlation.groups * job->partials;
}

#define ROOM fft_fused
#include "room.h"

#endif
