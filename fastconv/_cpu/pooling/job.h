/* Pooling: windows of a source array reduced to one element of a result each.
 *
 * Formula. On every axis output o owns the source elements  first + t*dilation,  0 <= t < taps,  that lie inside
 * [0, size), with first = o*step - before; adaptive axes own  floor(o*size/outputs) <= i < ceil((o+1)*size/outputs).
 * A window is the product of the three axes' elements.
 *
 *     maximum           result = the largest element; NaN wins; of equals the first in row order, of NaNs the last
 *     maximum_indices   the same, and its index in the (D, H, W) plane; -1 for a window without elements
 *     average           result = sum / divisor
 *     average_gradient  source[i] = sum over the windows o that own i of  result[o] / divisor of o
 *     maximum_gradient  source[i] = sum over the o with index[o] == i of  result[o]; an index outside counts nowhere
 *
 * The divisor is `divisor`, or where that is 0 the number of the window's elements, those in the padding included when
 * `count_padding` is set. Windows without elements have maximum -inf (the lowest integer) and average 0.
 *
 * Layout. Canonical axes n, channel, d, h, w; strides in elements, of any sign, 0 allowed where an array is read.
 *
 * Preconditions. Sizes are >= 1. The gradients add to `source`, which the caller has zeroed; maximum_gradient asks for
 * planes that are flat runs of elements source_stride[4] apart.
 *
 * Numerics. Sums run in the element type for windows of up to 32 elements, in row order; larger windows are summed in
 * groups of that length whose sums are added in double. int64 sums wrap, their quotients are cut towards zero. */
#ifndef FASTCONV_POOLING_JOB_H
#define FASTCONV_POOLING_JOB_H

#include "correlation.h"

typedef struct {
    int64_t size;    /* of the source */
    int64_t outputs; /* of the result */
    int64_t taps, step, before, after, dilation;
    int64_t adaptive; /* 1: only size and outputs matter */
} pool_axis_t;

typedef struct {
    pool_axis_t axis[3];
    int64_t divisor;
    int64_t count_padding;

    /* The work is a sequence of rows: pieces of one row of outputs, of one channel or of one block of channels. An item
     * is `rows_per_item` rows; in gradients all rows that touch the same source plane are one item. */
    int64_t row_sizes[5]; /* n, channel block, d, h, segment of w */
    int64_t rows_per_item;
    int64_t channels, block_channels; /* channels of one row; 1 unless lanes run along channels */
    int64_t segment_outputs;
    int64_t lanes_along_channels; /* 0: they run along w */
    int64_t single_outputs;       /* 1: take outputs one at a time, lanes along the window's rows where they are long */

    char *source, *result;
    int64_t *index; /* NULL where none are read or written */
    int64_t source_stride[5], result_stride[5], index_stride[5];
} pool_job_t;

/* Rows of outputs that a kernel takes at once, and channels of a block. */
enum { POOL_LANES = 128 };

/* Types of elements, in the order of the tables; a kernel is NULL where the type has none. */
typedef enum {
    POOL_FLOAT32,
    POOL_FLOAT64,
    POOL_INT8,
    POOL_INT16,
    POOL_INT32,
    POOL_INT64,
    POOL_UINT8,
    POOL_UINT16,
    POOL_UINT32,
    POOL_UINT64
} pool_type_t;

#define POOL_TYPES 10

#define ROOM pooling
#define ROOM_TYPES POOL_TYPES
#define ROOM_FIELDS
#include "room.h"

#endif
