/* What the implicit GEMM kernels compute: a correlation, its epilogue, and how it is cut into blocks. */
#ifndef FASTCONV_GEMM_JOB_H
#define FASTCONV_GEMM_JOB_H

#include "correlation.h"
#include "integers.h"

typedef struct {
    correlation_t correlation;
    epilogue_t epilogue;
    int64_t depth;              /* reduction indices of one block: a packed column panel of this depth stays in L1 */
    int64_t span;               /* pixels of one item; in the weight gradient, columns (channel, tap) of one item */
    int64_t splits;             /* weight gradient: parts of the pixels whose sums are added at the end */
    int64_t pass_first;         /* weight gradient: of every split, the pixels that one pass over the items adds */
    int64_t pass_pixels;        /* a multiple of depth */
    int pixels_are_columns;     /* vectors run along pixels (channels first), else along filters (channels last) */
    int source_channel_lines;   /* the source is gathered along channels; the reduction order is then tap, channel */
    int gradient_channel_lines; /* weight gradient: the output gradient is gathered along channels */
    char *packed;               /* weights, panel after panel: [group][panel][reduction][panel width] */
    char *partial;              /* weight gradient: [split][group][filter][column] */
} gemm_job_t;

static inline int64_t tap_count(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }
static inline int64_t pixel_count(const correlation_t *c) {
    return c->batch * c->pixels[0] * c->pixels[1] * c->pixels[2];
}

/* Height of the row panels that `rows` rows are cut into: as even as possible and at most `tile_rows`. */
static inline int64_t panel_height(int64_t rows, int64_t tile_rows) {
    return rows == 0 ? 1 : div_up(rows, div_up(rows, tile_rows));
}

/* Elements of the packed weights of one group. */
static inline int64_t packed_weight_size(const gemm_job_t *job, int64_t tile_columns) {
    int64_t filters = job->correlation.filters;
    int64_t width = job->pixels_are_columns ? filters : round_up(filters, tile_columns);
    return width * job->correlation.channels * tap_count(&job->correlation);
}

/* Lines gathered for one transposed panel; a panel is at most 4 vectors wide and stores run up to one vector over. */
static inline int64_t line_count(int64_t tile_rows, int64_t tile_columns, int64_t lanes) {
    return round_up(tile_rows > tile_columns ? tile_rows : tile_columns, lanes);
}

/* Items of the three loops. */
static inline int64_t gemm_pack_items(const gemm_job_t *job, int64_t tile_rows, int64_t tile_columns) {
    int64_t filters = job->correlation.filters;
    int64_t width = job->pixels_are_columns ? panel_height(filters, tile_rows) : tile_columns;
    return job->correlation.groups * div_up(filters, width);
}
static inline int64_t gemm_correlate_items(const gemm_job_t *job) {
    return job->correlation.groups * div_up(pixel_count(&job->correlation), job->span);
}
/* Pixels of one split of the weight gradient; whole depth blocks, so that the bits do not depend on how it ends. */
static inline int64_t gemm_split_pixels(const gemm_job_t *job) {
    return round_up(div_up(pixel_count(&job->correlation), job->splits), job->depth);
}
static inline int64_t gemm_weight_items(const gemm_job_t *job) {
    const correlation_t *c = &job->correlation;
    return job->splits * c->groups * div_up(c->channels * tap_count(c), job->span);
}

/* Bytes of one thread's scratch: packed panels, gathered lines, offsets; each part aligned to 64 bytes. */
static inline int64_t gemm_scratch_bytes(int64_t depth, int64_t span, int64_t rows, int64_t tile_rows,
                                         int64_t tile_columns, int64_t lanes, int64_t element_bytes) {
    int64_t widest = tile_rows > tile_columns ? tile_rows : tile_columns;
    int64_t lines = line_count(tile_rows, tile_columns, lanes) * round_up(depth, lanes);
    int64_t line = (span > rows ? span : rows) + 2 * widest;
    return round_up((depth * (span + widest) + lanes) * element_bytes, 64) +
           round_up((depth * rows + lanes) * element_bytes, 64) +
           round_up((lines > line ? lines : line) * element_bytes, 64) + round_up(2 * (span + widest) * 8, 64);
}

#endif
