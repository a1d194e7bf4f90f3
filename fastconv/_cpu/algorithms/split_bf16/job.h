/* What split_bf16 computes, and how its operands lie in memory while it does.
 *
 * Formula. Every float32 is the sum of `pieces` bfloat16 numbers, x = x0 + x1 + x2, each 2^-8 of the one before. A
 * product of two is the sum of `products` products of pieces, in float32: 1 (x0 w0), 3 (+ x0 w1, x1 w0), 6 (+ x1 w1,
 * x0 w2, x2 w0). What is left out is 2^-8, 2^-16 and 2^-24 of |x w|.
 *
 * Layout. A line is 64 bytes: 32 channels of one pixel, one piece. A block of the source is kept as
 *
 *     [block of 32 channels][piece][images / interleaved][phase d][phase h][phase w][d][h][w][interleaved image]
 *
 * so that a tap is a constant number of lines, whatever padding, stride and dilation: outside of the array there are
 * lines of zeros, and the elements s apart that a strided axis reads together are neighbours, one phase for each
 * residue that a tap needs. Weights are [32 filters][32 channels][tap][piece][half of the filters][pair of channels][16
 * filters], the two channels of a pair beside each other as the dot-product instructions want them. A tile is
 * TILE_LINES lines that follow one another; what it computes for lines that are no pixel of the result is dropped. */
#ifndef FASTCONV_SPLIT_JOB_H
#define FASTCONV_SPLIT_JOB_H

#include "correlation.h"
#include "integers.h"

#define LINE_CHANNELS 32
#define PANEL_FILTERS 32 /* of one pass over tiles: two halves of a vector */

typedef enum { ELEMENT_FLOAT32, ELEMENT_BFLOAT16, ELEMENT_FLOAT16 } element_t;

/* One axis of the source block. Slot i of phase m holds the source index  first pixel * step + origin + m-th residue +
 * i * step. */
typedef struct {
    int64_t step;
    int64_t delta; /* between taps, which gives the residues */
    int64_t origin;
    int64_t phases;
    int64_t reach;  /* slots beyond the first pixel's */
    int64_t shared; /* slots of zeros after a row that are those before the next one; of the last axis */
} split_axis_t;

/* One phase of the problem's correlation: the whole of it, or a stride phase of an input gradient. */
typedef struct {
    correlation_t correlation;
    epilogue_t epilogue;
    const int64_t *tap_lines; /* [tap]: lines from a pixel's first line to those that the tap reads */
    char *packed;
} split_phase_t;

typedef struct {
    const split_phase_t
        *phases; /* all of the same source; of a weight gradient one, whose result is the output gradient */
    int64_t phase_count;
    element_t element;
    int64_t element_bytes;
    int64_t pieces;
    int64_t products;
    split_axis_t axis[3];
    int64_t pixels[3];     /* of the largest phase */
    int64_t block[3];      /* pixels of one item */
    int64_t images;        /* interleaved: images, or pairs of them */
    int64_t image_sets;    /* sets of `images` of one item */
    int64_t chunk;         /* blocks of channels between two passes over the sums */
    int64_t block_filters; /* of one item: whole panels */
    uint32_t *largest;     /* bits of the largest magnitudes: [0] of the source, [1] of the other operand */
    /* A weight gradient: */
    int is_paired;          /* lines hold 16 channels of two images, which are the pair */
    int64_t part_pixels[2]; /* images are cut in halves of so many pixels, [axis], and those are the pair; 0: not along
                               it */
    int64_t pass;
    char *lines;    /* of the pass: [group][block of channels], as of an item */
    char *gradient; /* of the pass: [group][16 filters][tile][piece][16 filters][16 lines], pairs of images */
    float *totals;  /* [group][panel of filters][panel of channels][tap][half of filters][half of channels][16][16] */
} split_job_t;

static inline const correlation_t *split_shape(const split_job_t *job) { return &job->phases[0].correlation; }
static inline int64_t split_line_channels(const split_job_t *job) {
    return job->is_paired ? LINE_CHANNELS / 2 : LINE_CHANNELS;
}
static inline int64_t split_channel_blocks(const split_job_t *job) {
    return div_up(split_shape(job)->channels, split_line_channels(job));
}
/* Images, or pairs of images or of their halves. */
static inline int64_t split_is_halved(const split_job_t *job) { return job->part_pixels[0] + job->part_pixels[1] > 0; }
static inline int64_t split_images(const split_job_t *job) {
    const int64_t batch = split_shape(job)->batch;
    return !job->is_paired || split_is_halved(job) ? batch : div_up(batch, 2);
}
static inline int64_t split_panels(const split_job_t *job) { return div_up(split_shape(job)->filters, PANEL_FILTERS); }

/* Slots of one phase of an axis, lines of one phase of all axes, and of one set of images. */
static inline int64_t split_slots(const split_job_t *job, int axis) {
    return job->block[axis] + job->axis[axis].reach - job->axis[axis].shared;
}
static inline int64_t split_phase_lines(const split_job_t *job) {
    return (split_slots(job, 0) * split_slots(job, 1) * split_slots(job, 2) + job->axis[2].shared) * job->images;
}
static inline int64_t split_set_lines(const split_job_t *job) {
    return job->axis[0].phases * job->axis[1].phases * job->axis[2].phases * split_phase_lines(job);
}
/* Tiles read up to 15 lines past the end; an odd number of lines keeps pieces apart in the cache's sets. */
static inline int64_t split_piece_bytes(const split_job_t *job) {
    return ((job->image_sets * split_set_lines(job) + 16) | 1) * 64;
}
static inline int64_t split_block_bytes(const split_job_t *job) {
    return job->pieces * split_piece_bytes(job) + 4 * 64;
}

/* Tiles of a set of images whose block has these pixels: row by row, or through the slots between the rows. */
typedef struct {
    int is_flat;
    int64_t row_tiles; /* of one row, or of the set if flat */
    int64_t set_tiles;
} split_tiling_t;

static inline split_tiling_t split_tiling(const split_job_t *job, const int64_t pixels[3], int64_t tile_lines) {
    const int64_t rows = pixels[0] * pixels[1], row_tiles = div_up(pixels[2] * job->images, tile_lines);
    const int64_t last = ((pixels[0] - 1) * split_slots(job, 1) + pixels[1] - 1) * split_slots(job, 2) + pixels[2];
    const int64_t flat_tiles = div_up(last * job->images, tile_lines);
    if (flat_tiles < rows * row_tiles) return (split_tiling_t){1, flat_tiles, flat_tiles};
    return (split_tiling_t){0, row_tiles, rows * row_tiles};
}
/* Line of a tile's first pixel, in the order of the tiles of all sets. */
static inline int64_t split_tile_line(const split_job_t *job, const split_tiling_t *tiling, const int64_t pixels[3],
                                      int64_t tile, int64_t tile_lines) {
    const int64_t within = tile % tiling->set_tiles, row = within / tiling->row_tiles;
    const int64_t slots = (row / pixels[1] * split_slots(job, 1) + row % pixels[1]) * split_slots(job, 2);
    return tile / tiling->set_tiles * split_set_lines(job) + within % tiling->row_tiles * tile_lines +
           slots * job->images;
}
static inline int split_is_chunked(const split_job_t *job) { return job->chunk < split_channel_blocks(job); }
/* The narrowest row of any block. */
static inline int64_t split_least_width(const split_job_t *job) {
    const int64_t last = (job->pixels[2] - 1) % job->block[2] + 1; /* of a stride phase one less */
    return max64(last - (job->phase_count > 1), 1);
}
/* Lines of sums that are kept, of an even number of tiles: all of an item's between chunks of channels and of volumes,
 * else those that 16 pixels of all interleaved images may lie between, and some tiles of which none is stored yet. Rows
 * of tiles are less than a tile apart, or tiles would not be flat. */
static inline int64_t split_kept_lines(const split_job_t *job, int64_t tile_lines) {
    const int64_t row_lines = round_up(job->block[2] * job->images, tile_lines), rows = job->block[0] * job->block[1];
    const int64_t all = round_up(rows * row_lines * job->image_sets, 2 * tile_lines);
    if (split_is_chunked(job) || job->block[0] > 1) return all;
    const int64_t gap = max64((split_slots(job, 2) - job->block[2] + 1) * job->images, tile_lines);
    const int64_t gaps = (15 / split_least_width(job) + 1) * gap;
    return min64(all, round_up(16 * job->images + gaps + 6 * tile_lines, 2 * tile_lines));
}

/* A weight gradient: tiles of a pass, at most, and bytes of one block of 16 filters and of the parts of the workspace.
 */
static inline int64_t split_pass_tiles(const split_job_t *job) {
    return job->image_sets * job->block[0] * job->block[1] * div_up(job->block[2] * job->images, 16);
}
static inline int64_t split_gradient_bytes(const split_job_t *job) {
    return split_pass_tiles(job) * job->pieces * 1024;
}
static inline int64_t split_channel_panels(const split_job_t *job) { return div_up(split_channel_blocks(job), 2); }
static inline int64_t split_passes(const split_job_t *job) {
    int64_t passes = div_up(split_images(job), job->images * job->image_sets);
    for (int axis = 0; axis < 3; axis++) passes *= div_up(job->pixels[axis], job->block[axis]);
    return passes;
}
static inline int64_t split_totals_bytes(const split_job_t *job) {
    const correlation_t *c = split_shape(job);
    return c->groups * split_panels(job) * split_channel_panels(job) * tap_count(c) * 4096;
}
static inline int64_t split_lines_bytes(const split_job_t *job) {
    return split_shape(job)->groups * 2 * split_channel_panels(job) * split_block_bytes(job);
}
static inline int64_t split_gradients_bytes(const split_job_t *job) {
    return split_shape(job)->groups * 2 * split_panels(job) * split_gradient_bytes(job);
}
/* Of one thread: the lines of one filter of a set, or where tiles begin. */
static inline int64_t split_gradient_scratch_bytes(const split_job_t *job) {
    return round_up(max64(job->pieces * split_pass_tiles(job) * 64, split_pass_tiles(job) * 8), 64);
}

static inline int64_t split_packed_panel_bytes(const split_job_t *job, const correlation_t *c) {
    return div_up(c->channels, LINE_CHANNELS) * tap_count(c) * job->pieces * (PANEL_FILTERS * LINE_CHANNELS * 2);
}
static inline int64_t split_packed_bytes(const split_job_t *job, const correlation_t *c) {
    return c->groups * div_up(c->filters, PANEL_FILTERS) * split_packed_panel_bytes(job, c);
}

/* Where the parts of one thread's scratch begin, in bytes, each aligned to 64. */
typedef struct {
    int64_t sums;   /* float [chunked: phase, panel][half][line modulo those kept][16] */
    int64_t tiles;  /* int64_t: first line of every tile */
    int64_t lines;  /* int64_t [pixel]: line of a pixel in the sums of image 0 of set 0 */
    int64_t places; /* int64_t [pixel]: where it is stored, in elements */
    int64_t added;  /* int64_t [pixel]: where its addend lies */
    int64_t steps;  /* int64_t [tap]: bytes */
    int64_t bytes;
} split_scratch_t;

static inline split_scratch_t split_scratch(const split_job_t *job, int64_t tile_lines) {
    const int64_t blocks = min64(job->chunk, split_channel_blocks(job));
    const int64_t kept = split_is_chunked(job) ? job->phase_count * div_up(job->block_filters, PANEL_FILTERS) : 1;
    const int64_t pixels = job->block[0] * job->block[1] * job->block[2];
    const int64_t rows = job->block[0] * job->block[1] * job->image_sets;
    const int64_t tiles = rows * div_up(job->block[2] * job->images, tile_lines);
    int64_t taps = 0;
    for (int64_t i = 0; i < job->phase_count; i++) taps = max64(taps, tap_count(&job->phases[i].correlation));
    split_scratch_t s = {.sums = round_up(blocks * split_block_bytes(job), 64)};
    s.tiles = s.sums + kept * split_kept_lines(job, tile_lines) * PANEL_FILTERS * 4;
    s.lines = s.tiles + round_up((tiles + 1) * 8, 64);
    s.places = s.lines + round_up(pixels * 8, 64);
    s.added = s.places + round_up(pixels * 8, 64);
    s.steps = s.added + round_up(pixels * 8, 64);
    s.bytes = s.steps + round_up(taps * 8, 64);
    return s;
}

/* Items: [group][sets of images][block of d][of h][of w][filters]. */
static inline int64_t split_items(const split_job_t *job) {
    const correlation_t *c = split_shape(job);
    int64_t items =
        c->groups * div_up(split_images(job), job->images * job->image_sets) * div_up(c->filters, job->block_filters);
    for (int axis = 0; axis < 3; axis++) items *= div_up(job->pixels[axis], job->block[axis]);
    return items;
}
static inline int64_t split_pack_items(const split_job_t *job) { return split_shape(job)->groups * split_panels(job); }

#define ROOM split_bf16
#define ROOM_TYPES 1
#define ROOM_FIELDS                                                                                                    \
    int64_t tile_lines;                                                                                                \
    double rate; /* multiply-adds a second over those of float32 */                                                    \
    double                                                                                                             \
        sum_roundoffs; /* typical error of a sum of n products, in roundoffs, over the square root of n; measured */   \
    int64_t source_bytes; /* of an item's converted source, which stays in L2 */
#include "room.h"

#endif
