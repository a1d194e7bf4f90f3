/* What the Winograd kernels compute: a correlation, its tiles and their cutting into items.
 *
 * On a strided axis every stride-th element belongs to one phase, and so does every stride-th tap. Between phases the
 * step is one:
 *
 *     forward:         result[p] = sum over r, j of  source[stride*(p + j) + r + first] * weight[stride*j + r]
 *     backward_input:  result[stride*a + r + origin] =
 *                          sum over j of  source[a + first - j] * weight[stride*j + r - lead]
 *
 * so that the phases of the source are channels, and those of the result filters, of a correlation with fewer taps. The
 * taps that a phase lacks are zeros. */
#ifndef FASTCONV_WINOGRAD_JOB_H
#define FASTCONV_WINOGRAD_JOB_H

#include "correlation.h"
#include "integers.h"

/* What a tile is transformed by: B^T d B, G g G^T, A^T s A. */
typedef enum { TRANSFORM_SOURCE, TRANSFORM_WEIGHT, TRANSFORM_RESULT } transform_kind_t;

typedef struct {
    correlation_t correlation; /* on h and w: delta as `spacing` says, `step` only of the source's phases */
    epilogue_t epilogue;
    int64_t taps[2];          /* of every phase on h and w; the same unless 1 */
    int64_t source_phases[2]; /* on h and w; 1 where there is no stride */
    int64_t result_phases[2];
    int64_t source_lanes[2]; /* with few channels, instead: pairs (channel, phase) are lanes, see lanes.h */
    int64_t result_lanes[2];
    int64_t origin[2];    /* index of the result of phase 0 of tile 0: 0 or less, by less than the phases */
    int64_t lead[2];      /* taps that the result's phases lack at the beginning */
    int64_t tile_size[2]; /* on h and w: 4 to 8, or 1 on an axis without taps */
    int64_t outputs[2];   /* results of a tile on h and w: tile_size - taps + 1 of every phase; the same unless 1 */
    int64_t spacing[2];   /* of the taps on h and w: pixels this far apart form a plane of their own */
    int64_t classes[2];   /* such planes on h and w, those that hold a pixel */
    int64_t tiles[2];     /* of a plane */
    int64_t ragged[2];    /* 1: the last tile of a plane has fewer results than the others, and needs fewer points */
    int64_t early[2];     /* results by which that tile begins early: they are the previous one's */
    int64_t block[2];     /* tile rows, counted over all planes, and tile columns of an item */
    int64_t panels;    /* of filters, all phases, in an item that multiplies all tiles; 0: items are blocks of tiles */
    int64_t depth;     /* windows of the source in a block of the reduction */
    char *packed;      /* transformed weights: [group][point][panel][reduction][panel width]; NULL: none */
    char *transformed; /* with panels: the transformed source, [group][point], see winograd.h */
    char *spoiled;     /* one byte an image, or one for a weight gradient: its result is not finite */
    /* Of a weight gradient: */
    int64_t pass_first; /* tile rows of this pass, of `pass_rows` */
    int64_t pass_rows;
    int64_t accumulates;  /* the pass adds to the sums rather than begin them */
    int64_t splits;       /* parts of the passes with sums of their own, added at the end; 1: a pass is shared */
    int64_t round_first;  /* of every split, the first pass that an item adds */
    int64_t round_passes; /* and how many */
    char *gradient;       /* transformed output gradient: [group][point][panel][tile][panel width] */
    char *sums;           /* [split][group][point][panel][reduction][panel width] */
} winograd_job_t;

static inline int64_t winograd_source_phases(const winograd_job_t *job) {
    return job->source_phases[0] * job->source_phases[1];
}
static inline int64_t winograd_result_phases(const winograd_job_t *job) {
    return job->result_phases[0] * job->result_phases[1];
}
static inline int64_t winograd_source_lanes(const winograd_job_t *job) {
    return job->source_lanes[0] * job->source_lanes[1];
}
static inline int64_t winograd_result_lanes(const winograd_job_t *job) {
    return job->result_lanes[0] * job->result_lanes[1];
}

/* Channels and filters with the phases that are lanes. */
static inline int64_t winograd_channels(const winograd_job_t *job) {
    return job->correlation.channels * winograd_source_lanes(job);
}
static inline int64_t winograd_filters(const winograd_job_t *job) {
    return job->correlation.filters * winograd_result_lanes(job);
}

/* Windows of the source: (tap d, vector of channels). Reduction: (window, phase, lane), of a weight gradient (phase,
 * window, lane). */
static inline int64_t winograd_windows(const winograd_job_t *job, int64_t lanes) {
    return job->correlation.taps[0] * div_up(winograd_channels(job), lanes);
}
static inline int64_t winograd_reduction(const winograd_job_t *job, int64_t lanes) {
    return winograd_windows(job, lanes) * winograd_source_phases(job) * lanes;
}

/* Panels of `tile_columns` filters: first all phases of the first of them. */
static inline int64_t winograd_phase_panels(const winograd_job_t *job, int64_t tile_columns) {
    return div_up(winograd_filters(job), tile_columns);
}
static inline int64_t winograd_panels(const winograd_job_t *job, int64_t tile_columns) {
    return winograd_phase_panels(job, tile_columns) * winograd_result_phases(job);
}
/* Points of a tile: its places after the transforms, each a plane. */
static inline int64_t winograd_points(const winograd_job_t *job) { return job->tile_size[0] * job->tile_size[1]; }
static inline int64_t winograd_tile_rows(const winograd_job_t *job) {
    return job->correlation.batch * job->correlation.pixels[0] * job->classes[0] * job->classes[1] * job->tiles[0];
}

/* Elements between the planes of two points: never a multiple of a large power of two, so that the planes of one tile
 * do not meet in the same sets of the caches. */
static inline int64_t winograd_plane(int64_t elements) { return round_up(elements, 16) + 48; }

/* Elements of the transformed weights of one group. */
static inline int64_t winograd_packed_size(const winograd_job_t *job, int64_t tile_columns, int64_t lanes) {
    return winograd_points(job) *
           winograd_plane(winograd_panels(job, tile_columns) * tile_columns * winograd_reduction(job, lanes));
}

/* Elements of the transformed source of one group. */
static inline int64_t winograd_transformed_size(const winograd_job_t *job, int64_t lanes) {
    return winograd_points(job) *
           winograd_plane(winograd_tile_rows(job) * job->tiles[1] * winograd_reduction(job, lanes));
}

/* Items of the loops: weights; blocks of tiles from source to result; or, with panels, the source and the result. */
static inline int64_t winograd_pack_items(const winograd_job_t *job, int64_t tile_columns, int64_t lanes) {
    return job->correlation.groups * winograd_phase_panels(job, tile_columns) * winograd_windows(job, lanes);
}
static inline int64_t winograd_block_items(const winograd_job_t *job) {
    return job->correlation.groups * div_up(winograd_tile_rows(job), job->block[0]) *
           div_up(job->tiles[1], job->block[1]);
}
static inline int64_t winograd_source_items(const winograd_job_t *job, int64_t lanes) {
    return job->correlation.groups * winograd_windows(job, lanes);
}
static inline int64_t winograd_panel_items(const winograd_job_t *job, int64_t tile_columns) {
    return job->correlation.groups * div_up(winograd_phase_panels(job, tile_columns), job->panels);
}

/* Elements of the pixels under the tiles of one block, and of their results, for one vector of channels. */
static inline int64_t winograd_patch_size(const winograd_job_t *job, int64_t lanes) {
    int64_t rows = job->block[0] * job->outputs[0] + job->tile_size[0];
    int64_t columns = job->block[1] * job->outputs[1] + job->tile_size[1];
    return rows * columns * max64(winograd_source_phases(job), winograd_result_phases(job)) * lanes;
}

/* Bytes of one thread's scratch: what is transformed (the block's pixels, or the panels' weights), products, a patch.
 */
static inline int64_t winograd_scratch_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes,
                                             int64_t element_bytes) {
    int64_t tiles = job->block[0] * job->block[1], panels = winograd_panels(job, tile_columns);
    int64_t left = tiles * winograd_reduction(job, lanes);
    if (job->panels > 0) {
        tiles = winograd_tile_rows(job) * job->tiles[1];
        panels = job->panels * winograd_result_phases(job);
        left = panels * tile_columns * job->depth * winograd_source_phases(job) * lanes;
    }
    int64_t elements = winograd_plane(left) + winograd_plane(tiles * panels * tile_columns);
    return round_up((winograd_points(job) * elements + winograd_patch_size(job, lanes)) * element_bytes, 64);
}

/* Weight gradients. */
static inline int64_t winograd_pass_tiles(const winograd_job_t *job) { return job->pass_rows * job->tiles[1]; }
static inline int64_t winograd_pass_source_size(const winograd_job_t *job, int64_t lanes) {
    return winograd_points(job) * winograd_plane(winograd_pass_tiles(job) * winograd_reduction(job, lanes));
}
static inline int64_t winograd_pass_gradient_size(const winograd_job_t *job, int64_t tile_columns) {
    return winograd_points(job) *
           winograd_plane(winograd_pass_tiles(job) * winograd_panels(job, tile_columns) * tile_columns);
}
/* Items of the loops of a pass: windows and vectors of filters to transform, then products. */
static inline int64_t winograd_operand_items(const winograd_job_t *job, int64_t tile_columns, int64_t lanes) {
    return job->correlation.groups *
           (winograd_windows(job, lanes) + winograd_panels(job, tile_columns) * tile_columns / lanes);
}
static inline int64_t winograd_product_items(const winograd_job_t *job, int64_t tile_columns) {
    return job->correlation.groups * winograd_points(job) * winograd_panels(job, tile_columns);
}
static inline int64_t winograd_passes(const winograd_job_t *job) {
    return div_up(winograd_tile_rows(job), job->pass_rows);
}
static inline int64_t winograd_split_passes(const winograd_job_t *job) {
    return div_up(winograd_passes(job), job->splits);
}
/* Bytes of both operands of a pass, and of the sums of one split. */
static inline int64_t winograd_pass_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes,
                                          int64_t element_bytes) {
    return round_up(job->correlation.groups * element_bytes *
                        (winograd_pass_source_size(job, lanes) + winograd_pass_gradient_size(job, tile_columns)),
                    64);
}
static inline int64_t winograd_sums_bytes(const winograd_job_t *job, int64_t tile_columns, int64_t lanes,
                                          int64_t element_bytes) {
    return round_up(job->correlation.groups * element_bytes * winograd_packed_size(job, tile_columns, lanes), 64);
}

/* Pairs (h, w) of an axis' inner things, 0, and its last one, 1, are kept in the order
 *
 *     0: (0, 1)    1: (0, 0)    2: (1, 0)    3: (1, 1)
 *
 * in which those without the last one on h, on w or on both follow each other. first[kind] is where a kind begins,
 * first[4] the end. */
typedef struct {
    int64_t first, last;
} winograd_span_t;

static inline winograd_span_t winograd_span(const int64_t *first, int with_last_h, int with_last_w) {
    return (winograd_span_t){first[with_last_w ? 0 : 1], first[!with_last_h ? 2 : !with_last_w ? 3 : 4]};
}

/* The tiles of an item, tile rows [row, last_row), counted over all planes, of tile columns [column, last_column), are
 * numbered by such kinds. A ragged plane's last tile, of which the last result lies outside, needs no point at
 * infinity, which is in the last result alone. One with two results outside begins early by one; then its result 0 is
 * not wanted either, nor the point 0. */
typedef struct {
    int64_t row, last_row, column, last_column;
    int64_t first[5];
} winograd_tiles_t;

static inline winograd_tiles_t winograd_tiles(const winograd_job_t *job, int64_t row, int64_t last_row, int64_t column,
                                              int64_t last_column) {
    const int64_t last_rows = job->ragged[0] ? last_row / job->tiles[0] - row / job->tiles[0] : 0;
    const int64_t last_columns = job->ragged[1] && last_column == job->tiles[1];
    const int64_t rows = last_row - row - last_rows, columns = last_column - column - last_columns;
    winograd_tiles_t tiles = {row, last_row, column, last_column, {0}};
    tiles.first[1] = rows * last_columns;
    tiles.first[2] = tiles.first[1] + rows * columns;
    tiles.first[3] = tiles.first[2] + last_rows * columns;
    tiles.first[4] = tiles.first[3] + last_rows * last_columns;
    return tiles;
}

/* Whether the ragged last tile of an axis needs a point of it. */
static inline int winograd_last_needs(const winograd_job_t *job, int axis, int64_t point) {
    return !job->ragged[axis] || !(point == job->tile_size[axis] - 1 || (point == 0 && job->early[axis]));
}

/* A point of both axes. */
typedef struct {
    int64_t h, w;
} winograd_point_t;

static inline winograd_point_t winograd_point(const winograd_job_t *job, int64_t point) {
    return (winograd_point_t){point / job->tile_size[1], point % job->tile_size[1]};
}

/* The tiles that need a point. */
static inline winograd_span_t winograd_tiles_of_point(const winograd_job_t *job, const winograd_tiles_t *tiles,
                                                      winograd_point_t point) {
    return winograd_span(tiles->first, winograd_last_needs(job, 0, point.h), winograd_last_needs(job, 1, point.w));
}

/* Whether the weights of a phase on an axis are not all zero at a point of it. The polynomial of a phase without its
 * last tap has no value at infinity, that of one without its first tap none at 0, which is not a point of a tile of 5.
 */
static inline int winograd_phase_has(const winograd_job_t *job, int axis, int64_t phase, int64_t point) {
    const int64_t last_tap = job->taps[axis] - 1, size = job->correlation.taps[1 + axis];
    const int at_infinity = point == job->tile_size[axis] - 1, at_zero = point == 0 && job->tile_size[axis] != 5;
    if (job->source_phases[axis] > 1) return !(at_infinity && job->source_phases[axis] * last_tap + phase >= size);
    if (job->result_phases[axis] == 1) return 1;
    return !(at_infinity && phase < job->lead[axis]) &&
           !(at_zero && job->result_phases[axis] * last_tap + phase - job->lead[axis] >= size);
}

static inline int winograd_panel_has(const winograd_job_t *job, int64_t panel, winograd_point_t point) {
    if (winograd_result_phases(job) == 1) return 1;
    const int64_t phase = panel % winograd_result_phases(job);
    return winograd_phase_has(job, 0, phase / job->result_phases[1], point.h) &&
           winograd_phase_has(job, 1, phase % job->result_phases[1], point.w);
}

/* Phases of the source, of which an axis has one or two, are in the reduction by the kinds above. */
static inline int64_t winograd_phase_place(const winograd_job_t *job, int64_t phase) {
    return job->source_phases[1] == 2 && phase < 2 ? 1 - phase : phase;
}

/* The vector of the reduction that holds a phase of a window. */
static inline int64_t winograd_vector(const winograd_job_t *job, int64_t phase, int64_t window) {
    return window * winograd_source_phases(job) + winograd_phase_place(job, phase);
}

/* The vectors of `windows` windows, in the order (phase, window), whose weights are not zeros at a point. */
static inline winograd_span_t winograd_vectors_of_point(const winograd_job_t *job, winograd_point_t point,
                                                        int64_t windows) {
    const int64_t h = job->source_phases[0] - 1, w = job->source_phases[1] - 1;
    const int64_t first[5] = {0, w * windows, (w + 1) * windows, (w + 1 + h) * windows, (w + 1) * (h + 1) * windows};
    return winograd_span(first, winograd_phase_has(job, 0, h, point.h), winograd_phase_has(job, 1, w, point.w));
}

/* The share of all products that is computed. */
static inline double winograd_needed_share(const winograd_job_t *job, int64_t lanes) {
    const winograd_tiles_t tiles = winograd_tiles(job, 0, winograd_tile_rows(job), 0, job->tiles[1]);
    const int64_t phases = winograd_result_phases(job), reduction = winograd_reduction(job, lanes) / lanes;
    int64_t needed = 0;
    for (int64_t i = 0; i < winograd_points(job); i++) {
        const winograd_point_t point = winograd_point(job, i);
        const winograd_span_t t = winograd_tiles_of_point(job, &tiles, point);
        const winograd_span_t v = winograd_vectors_of_point(job, point, winograd_windows(job, lanes));
        for (int64_t phase = 0; phase < phases; phase++)
            needed += winograd_panel_has(job, phase, point) * (t.last - t.first) * (v.last - v.first);
    }
    return (double)needed / (double)max64(winograd_points(job) * tiles.first[4] * reduction * phases, 1);
}

/* Tiles of one kind that lie in one plane: `rows` x `columns`. The plane holds the pixels residue + spacing * i. */
typedef struct {
    int64_t image, plane, residue[2];
    int64_t begin[2]; /* results, of every phase, of the plane that come before */
    int64_t early[2]; /* results of the patch that are another one's and come first */
    int64_t rows, columns;
    int64_t tile; /* number of the first tile; they are counted row by row */
    /* Of the walk over all patches: */
    int kind;
    int64_t row, last_row; /* tile rows that its kinds share */
    int64_t next[4];       /* number of the next tile of every kind */
} winograd_patch_t;

static inline winograd_patch_t winograd_before_patches(const winograd_tiles_t *tiles) {
    winograd_patch_t patch = {.kind = 3, .last_row = tiles->row};
    for (int kind = 0; kind < 4; kind++) patch.next[kind] = tiles->first[kind];
    return patch;
}

/* Goes to the next patch of up to `max_rows` tile rows; 0: there is none. */
static inline int winograd_next_patch(const winograd_job_t *job, const winograd_tiles_t *tiles, int64_t max_rows,
                                      winograd_patch_t *patch) {
    while (patch->kind < 3 || patch->last_row < tiles->last_row) {
        if (++patch->kind == 4) {
            patch->kind = 0;
            patch->row = patch->last_row;
            patch->last_row =
                min64(min64(patch->row + max_rows, tiles->last_row), (patch->row / job->tiles[0] + 1) * job->tiles[0]);
        }
        const int is_last[2] = {patch->kind >= 2, patch->kind % 3 == 0};
        const int64_t number = patch->row / job->tiles[0], plane = number / job->classes[1] / job->classes[0];
        const int64_t first[2] = {patch->row - number * job->tiles[0], tiles->column};
        const int64_t last[2] = {patch->last_row - number * job->tiles[0], tiles->last_column};
        int64_t size[2];
        for (int axis = 0; axis < 2; axis++) {
            const int64_t inner = max64(min64(last[axis], job->tiles[axis] - job->ragged[axis]), first[axis]);
            size[axis] = is_last[axis] ? last[axis] - inner : inner - first[axis];
            patch->early[axis] = is_last[axis] ? job->early[axis] : 0;
            patch->begin[axis] = (is_last[axis] ? inner : first[axis]) * job->outputs[axis] - patch->early[axis];
        }
        patch->image = plane / job->correlation.pixels[0];
        patch->plane = plane % job->correlation.pixels[0];
        patch->residue[0] = number / job->classes[1] % job->classes[0];
        patch->residue[1] = number % job->classes[1];
        patch->rows = size[0];
        patch->columns = size[1];
        patch->tile = patch->next[patch->kind];
        patch->next[patch->kind] += size[0] * size[1];
        if (size[0] * size[1] > 0) return 1;
    }
    return 0;
}

/* Those elements origin + spacing * j of an axis that lie inside: `count` from number `low` on, which is `first`. */
typedef struct {
    int64_t first, low, count;
} winograd_inside_t;

static inline winograd_inside_t winograd_inside(int64_t origin, int64_t spacing, int64_t size) {
    const int64_t low = origin >= 0 ? -(origin / spacing) : div_up(-origin, spacing), first = origin + low * spacing;
    return (winograd_inside_t){first, low, first < size ? div_up(size - first, spacing) : 0};
}

#define ROOM winograd
#include "room.h"

#endif
