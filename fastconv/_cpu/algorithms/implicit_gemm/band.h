/* Geometry of a band: a copy of the part of a correlation's source that a block of pixels sees, zeros outside the
 * array.
 *
 *     source element of (entry, pixel) = band[offset(entry) + offset(pixel)],   entry = channel * taps + tap
 *
 * for every pixel and tap alike, so that a block of the matrix product needs two short tables in place of a panel with
 * one copy of an element per tap. Runs of pixels of one row are neighbours whatever the stride: an axis is kept either
 * once, its residues modulo the stride one after the other (phases), or once per tap, whichever is shorter.
 *
 * A block of pixels is a range of their flat numbers; it touches `segments` planes (n, d), of each the rows from
 * `row_first` (the first plane) or 0 on. Layout: planar [channel][plane][d][h][w] or interleaved, channels innermost.
 */
#ifndef FASTCONV_BAND_H
#define FASTCONV_BAND_H

#include <stddef.h>

#include "correlation.h"
#include "integers.h"

/* Slots of one axis: [majors][pitch], major being a phase or a tap. The source index of slot (m, i) for the pixel
 * position `first` is first*step + origin + m*major_step + i*step. */
typedef struct {
    int64_t majors;
    int64_t pitch;
    int64_t origin;
    int64_t major_step;
    int is_per_tap;
} band_axis_t;

typedef struct {
    int64_t plane_first; /* n * depth + d of the first segment */
    int64_t segments;
    int64_t row_first; /* of the first segment */
    int64_t rows;      /* most rows of a segment */
    int64_t column_first;
    int64_t columns;
} pixel_box_t;

typedef struct {
    pixel_box_t box;
    band_axis_t axis[3];
    int64_t stride[3]; /* elements between neighbouring slots of an axis */
    int64_t segment_stride;
    int64_t channel_stride;
    int64_t size;
} band_t;

static inline int64_t entry_count(const correlation_t *c) { return c->channels * tap_count(c); }
static inline int64_t pixel_count(const correlation_t *c) {
    return c->batch * c->pixels[0] * c->pixels[1] * c->pixels[2];
}

/* All pixels are cut into blocks of at most `size`; rows at least that long are cut each for itself, evenly. */
static inline int64_t row_piece(const correlation_t *c, int64_t size) {
    const int64_t width = c->pixels[2];
    return min64(size, round_up(div_up(width, div_up(width, size)), 16));
}
static inline int64_t pixel_block_count(const correlation_t *c, int64_t size) {
    const int64_t width = c->pixels[2], pixels = pixel_count(c);
    if (pixels == 0) return 0;
    return width >= size ? pixels / width * div_up(width, row_piece(c, size)) : div_up(pixels, size);
}
static inline int64_t pixel_block(const correlation_t *c, int64_t size, int64_t index, int64_t *count) {
    const int64_t width = c->pixels[2];
    if (width < size) {
        *count = min64(size, pixel_count(c) - index * size);
        return index * size;
    }
    const int64_t piece = row_piece(c, size), pieces = div_up(width, piece);
    *count = min64(piece, width - index % pieces * piece);
    return index / pieces * width + index % pieces * piece;
}

static inline pixel_box_t pixel_box(const correlation_t *c, int64_t first, int64_t count) {
    const int64_t width = c->pixels[2], height = c->pixels[1], last = first + count - 1;
    pixel_box_t box = {.plane_first = first / (width * height), .row_first = first / width % height};
    box.segments = last / (width * height) - box.plane_first + 1;
    const int64_t last_row = last / width % height;
    box.rows = box.segments == 1   ? last_row - box.row_first + 1
               : box.segments == 2 ? max64(height - box.row_first, last_row + 1)
                                   : height;
    const int is_one_row = box.segments == 1 && box.rows == 1;
    box.column_first = is_one_row ? first % width : 0;
    box.columns = is_one_row ? count : width;
    return box;
}

/* The largest of the boxes of blocks of `size` pixels. */
static inline pixel_box_t largest_box(const correlation_t *c, int64_t size) {
    const int64_t width = c->pixels[2], height = c->pixels[1], crossed = size < 2 ? 0 : size - 2;
    if (pixel_count(c) == 0) return (pixel_box_t){0};
    if (width >= size) return (pixel_box_t){.segments = 1, .rows = 1, .columns = size};
    return (pixel_box_t){.segments = min64(c->batch * c->pixels[0], crossed / (width * height) + 2),
                         .rows = min64(height, crossed / width + 2),
                         .columns = width};
}

static inline band_axis_t band_axis(const correlation_t *c, int axis, int64_t count) {
    const int64_t taps = c->taps[axis], step = c->step[axis], delta = c->delta[axis];
    const int64_t gap = delta < 0 ? -delta : delta, reach = (taps - 1) * gap;
    const int64_t shared = greatest_common_divisor(step, gap), pitch = count + reach / step;
    if (taps <= 1 || taps * count < step / shared * pitch)
        return (band_axis_t){
            .majors = taps, .pitch = count, .origin = c->first[axis], .major_step = delta, .is_per_tap = 1};
    return (band_axis_t){.majors = step / shared,
                         .pitch = pitch,
                         .origin = c->first[axis] - (delta < 0 ? reach : 0),
                         .major_step = shared};
}

/* Slot of a tap for the first pixel position. */
static inline int64_t band_tap(const correlation_t *c, int axis, const band_axis_t *b, int64_t tap) {
    if (b->is_per_tap) return tap * b->pitch;
    const int64_t delta = c->delta[axis], step = c->step[axis];
    const int64_t distance = delta < 0 ? (tap + 1 - c->taps[axis]) * delta : tap * delta;
    return step == 1 ? distance : distance % step / b->major_step * b->pitch + distance / step;
}

/* Strides that are odd multiples of 16 elements: many of them share the sets of a cache evenly. */
static inline int64_t spread_stride(int64_t elements) { return (div_up(elements, 16) | 1) * 16; }

static inline band_t band_of(const correlation_t *c, const pixel_box_t *box, int64_t channels, int is_interleaved) {
    band_t b = {.box = *box, .channel_stride = 1};
    const int64_t count[3] = {1, box->rows, box->columns};
    int64_t stride = !is_interleaved ? 1 : channels <= 16 ? channels : spread_stride(channels);
    for (int axis = 2; axis >= 0; axis--) {
        b.axis[axis] = band_axis(c, axis, count[axis]);
        b.stride[axis] = stride;
        stride *= b.axis[axis].majors * b.axis[axis].pitch;
    }
    b.segment_stride = stride;
    b.size = stride * box->segments;
    if (is_interleaved) return b;
    b.channel_stride = spread_stride(b.size);
    b.size = channels * b.channel_stride;
    return b;
}

/* Whether the source itself can stand in for every band: no tap leaves it, and pixels and taps lie at constant strides.
 */
static inline int is_own_band(const correlation_t *c) {
    for (int axis = 0; axis < 3; axis++) {
        const int64_t reach = (c->taps[axis] - 1) * c->delta[axis], last = (c->pixels[axis] - 1) * c->step[axis];
        if (c->taps[axis] < 1 || (c->taps[axis] > 1 && c->step[axis] > 1)) return 0;
        if (c->first[axis] + min64(reach, 0) < 0) return 0;
        if (c->first[axis] + last + max64(reach, 0) >= c->source_size[axis]) return 0;
    }
    return c->batch == 1 || c->pixels[0] == 1;
}

/* The source as the band of a block: positions count from pixel 0 of the block's first plane, where `*begin` is. */
static inline band_t own_band(const correlation_t *c, const pixel_box_t *box, int64_t channel, int64_t *begin) {
    const int64_t n = box->plane_first / c->pixels[0], d = box->plane_first % c->pixels[0], *stride = c->source_stride;
    band_t b = {.box = *box, .channel_stride = stride[1]};
    *begin = n * stride[0] + channel * stride[1] + d * c->step[0] * stride[2];
    for (int axis = 0; axis < 3; axis++) {
        const int64_t origin = c->first[axis] + min64((c->taps[axis] - 1) * c->delta[axis], 0);
        b.axis[axis] = (band_axis_t){.majors = 1, .major_step = 1};
        b.stride[axis] = c->step[axis] * stride[2 + axis];
        *begin += origin * stride[2 + axis];
    }
    b.segment_stride = c->pixels[0] == 1 ? stride[0] : b.stride[0];
    b.box.row_first = b.box.column_first = 0;
    b.box.columns = c->pixels[2];
    return b;
}

/* Whether all pixels of a block are neighbours in such a band, one plane long. */
static inline int pixels_are_line(const correlation_t *c, const band_t *b) {
    return b->box.segments == 1 && b->stride[2] == 1 && b->stride[1] == c->pixels[2];
}

/* Offsets of entries [first, first + count), of which the band holds the channels from that of `first` on. */
static inline void entry_offsets(const correlation_t *c, const band_t *b, int64_t first, int64_t count,
                                 int64_t *offset) {
    int64_t tap[3], rest = first;
    for (int axis = 2; axis >= 0; axis--) {
        tap[axis] = rest % c->taps[axis];
        rest /= c->taps[axis];
    }
    int64_t plane = 0, slab = band_tap(c, 0, &b->axis[0], tap[0]) * b->stride[0];
    int64_t row = band_tap(c, 1, &b->axis[1], tap[1]) * b->stride[1];
    for (int64_t i = 0; i < count; i++) {
        offset[i] = plane + slab + row + band_tap(c, 2, &b->axis[2], tap[2]) * b->stride[2];
        if (++tap[2] < c->taps[2]) continue;
        tap[2] = 0;
        if (++tap[1] == c->taps[1]) {
            tap[1] = 0;
            if (++tap[0] == c->taps[0]) {
                tap[0] = 0;
                plane += b->channel_stride;
            }
            slab = band_tap(c, 0, &b->axis[0], tap[0]) * b->stride[0];
        }
        row = band_tap(c, 1, &b->axis[1], tap[1]) * b->stride[1];
    }
}

/* Offsets of the pixels of the band's block, `count` from number `first` on. */
static inline void pixel_offsets(const correlation_t *c, const band_t *b, int64_t first, int64_t count,
                                 int64_t *offset) {
    int64_t w = first % c->pixels[2] - b->box.column_first, h = first / c->pixels[2] % c->pixels[1] - b->box.row_first;
    for (int64_t i = 0, segment = 0; i < count;) {
        for (; i < count && w < b->box.columns; w++)
            offset[i++] = segment * b->segment_stride + h * b->stride[1] + w * b->stride[2];
        w = 0;
        if (++h + (segment == 0 ? b->box.row_first : 0) == c->pixels[1]) {
            h = 0;
            segment++;
        }
    }
}

#endif
