/* What the implicit GEMM kernels compute: a correlation, its epilogue, and how it is cut into blocks. */
#ifndef FASTCONV_GEMM_JOB_H
#define FASTCONV_GEMM_JOB_H

#include "band.h"
#include "correlation.h"
#include "integers.h"

typedef struct {
    correlation_t correlation;
    epilogue_t epilogue;
    int64_t block_entries; /* (channel, tap) pairs of one block: the reduction, or in the weight gradient the rows */
    int64_t block_pixels;  /* pixels of one block: of one item, or in the weight gradient the reduction */
    int64_t block_filters; /* filters of one item: whole panels */
    int64_t splits;        /* weight gradient: parts of the blocks of pixels whose sums are added at the end */
    int64_t pass_first;    /* weight gradient: of every split, the blocks that one pass over the items adds */
    int64_t pass_blocks;
    int pixels_are_columns; /* vectors run along pixels, else along filters */
    int is_interleaved;     /* the band of the source: channels are neighbours (channels last) */
    int is_weight_gradient;
    int in_place;     /* the source stands in for its bands */
    int owns_between; /* what lies between neighbouring pixels of the result is the result's, too: of another phase */
    int looks_up_weights; /* where they lie, for columns of pixels */
    char *packed;         /* weights, NULL: items pack them: [group][block of entries][panel][entry][panel width] */
    char *partial;        /* weight gradient: [split][group][entry][filter, rounded up to panels] */
} gemm_job_t;

/* Height of the row panels that `rows` rows are cut into: as even as possible and at most `tile_rows`. */
static inline int64_t panel_height(int64_t rows, int64_t tile_rows) {
    return rows == 0 ? 1 : div_up(rows, div_up(rows, tile_rows));
}

/* Whether blocks of the source need not be copied. Rows of a register tile that are looked up 4 KiB apart would push
 * each other out of one set of a first-level cache; 2 KiB apart, there is room in two for all of them. Those of a
 * weight gradient are more. */
static inline int gemm_is_in_place(const gemm_job_t *job, int64_t element_bytes) {
    const correlation_t *c = &job->correlation;
    if (!is_own_band(c)) return 0;
    if (job->is_weight_gradient) return job->is_interleaved || c->source_stride[1] * element_bytes % 2048 != 0;
    return job->pixels_are_columns || c->step[2] * c->source_stride[4] * element_bytes % 4096 != 0;
}

/* Height of the panels that filters are cut into as rows. Where weights at a stride of a power of two are looked up,
 * their lines share a set of a first-level cache, which has room for 8. */
static inline int64_t gemm_filter_rows(const gemm_job_t *job, int64_t tile_rows) {
    return panel_height(job->correlation.filters, job->looks_up_weights ? min64(tile_rows, 8) : tile_rows);
}

/* Packed weights of one entry in one group, and of all. */
static inline int64_t packed_entry_width(const gemm_job_t *job, int64_t tile_columns) {
    int64_t filters = job->correlation.filters;
    return job->pixels_are_columns ? filters : round_up(filters, tile_columns);
}
static inline int64_t packed_weight_size(const gemm_job_t *job, int64_t tile_columns) {
    if (job->looks_up_weights) return 0;
    return packed_entry_width(job, tile_columns) * entry_count(&job->correlation) * job->correlation.groups;
}

/* Whether vectors along filters are stored along pixels: sums are then kept in scratch, [panel][pixel][TILE_COLUMNS].
 */
static inline int gemm_stores_transposed(const gemm_job_t *job) {
    return !job->is_weight_gradient && !job->pixels_are_columns && !job->is_interleaved;
}

/* Whether weights are packed beforehand. Of one block of pixels, an item packs what it uses and no other one does. */
static inline int gemm_packs_weights(const gemm_job_t *job) {
    if (job->pixels_are_columns) return !job->looks_up_weights;
    return pixel_block_count(&job->correlation, job->block_pixels) > 1;
}

/* Items of the four loops. */
static inline int64_t gemm_pack_items(const gemm_job_t *job, int64_t tile_rows, int64_t tile_columns) {
    int64_t filters = job->correlation.filters;
    int64_t width = job->pixels_are_columns ? panel_height(filters, tile_rows) : tile_columns;
    return job->correlation.groups * div_up(filters, width);
}
static inline int64_t gemm_correlate_items(const gemm_job_t *job) {
    const correlation_t *c = &job->correlation;
    return c->groups * pixel_block_count(c, job->block_pixels) * div_up(c->filters, job->block_filters);
}
static inline int64_t gemm_split_blocks(const gemm_job_t *job) {
    return div_up(pixel_block_count(&job->correlation, job->block_pixels), job->splits);
}
static inline int64_t gemm_weight_items(const gemm_job_t *job) {
    const correlation_t *c = &job->correlation;
    return job->splits * c->groups * div_up(entry_count(c), job->block_entries) *
           div_up(c->filters, job->block_filters);
}
static inline int64_t gemm_reduce_items(const gemm_job_t *job, int64_t tile_columns) {
    return job->correlation.groups * div_up(job->correlation.filters, tile_columns);
}
/* Whether a weight gradient is summed where it is stored. */
static inline int gemm_sums_in_place(const gemm_job_t *job) {
    return job->splits == 1 && tap_count(&job->correlation) == 1 && job->correlation.weight_stride[0] == 1;
}
/* Or panel by panel: there is but one block of pixels, so that a panel's sums are complete where they are made. */
static inline int gemm_stores_panels(const gemm_job_t *job) {
    const int64_t pixels = pixel_count(&job->correlation);
    return job->is_weight_gradient && pixels > 0 && pixels <= job->block_pixels && !gemm_sums_in_place(job);
}
/* Elements of all partial sums. */
static inline int64_t gemm_partial_size(const gemm_job_t *job, int64_t tile_columns) {
    const correlation_t *c = &job->correlation;
    if (gemm_stores_panels(job)) return 0;
    return job->splits * c->groups * entry_count(c) * round_up(c->filters, tile_columns);
}

/* Where the parts of one thread's scratch begin, in bytes, each aligned to 64. */
typedef struct {
    int64_t band;
    int64_t panels;
    int64_t entries; /* int64_t tables of offsets from here on */
    int64_t pixels;
    int64_t results;
    int64_t added;
    int64_t filters;
    int64_t weights;
    int64_t sums;
    int64_t bytes;
} gemm_scratch_t;

static inline gemm_scratch_t gemm_scratch(const gemm_job_t *job, int64_t tile_columns, int64_t lanes,
                                          int64_t element_bytes) {
    const correlation_t *c = &job->correlation;
    const int64_t entries = job->block_entries, pixels = job->block_pixels, taps = max64(tap_count(c), 1);
    const int64_t channels = min64(c->channels, entries % taps == 0 ? entries / taps : (entries - 2 + taps) / taps + 1);
    const int64_t depth = job->is_weight_gradient ? pixels : entries;
    const pixel_box_t box = largest_box(c, pixels);
    const band_t band = band_of(c, &box, channels, job->is_interleaved);
    gemm_scratch_t s = {.band = round_up(lanes * element_bytes, 64)};
    s.panels = s.band + round_up((band.size + 2 * lanes) * element_bytes, 64);
    const int64_t columns = job->looks_up_weights ? round_up(pixels, tile_columns) : tile_columns;
    s.entries = s.panels + round_up(depth * columns * element_bytes, 64);
    s.pixels = s.entries + round_up(entries * 8, 64);
    s.results = s.pixels + round_up((pixels + tile_columns) * 8, 64);
    s.added = s.results + round_up((pixels + tile_columns) * 8, 64);
    s.filters = s.added + round_up((pixels + tile_columns) * 8, 64);
    s.weights = s.filters + (job->looks_up_weights ? round_up(c->filters * 8, 64) : 0);
    s.sums = s.weights + (job->looks_up_weights ? round_up(entries * 8, 64) : 0);
    s.bytes = s.sums;
    if (gemm_stores_transposed(job)) {
        /* The panel of a sum of one block is stored before the next begins. */
        const int64_t panels = entries < entry_count(c) ? job->block_filters : tile_columns;
        s.bytes += round_up((pixels * panels + lanes * tile_columns) * element_bytes, 64);
    }
    if (gemm_stores_panels(job)) s.bytes += round_up(entries * tile_columns * element_bytes, 64);
    return s;
}

#define ROOM implicit_gemm
#include "room.h"

#endif
