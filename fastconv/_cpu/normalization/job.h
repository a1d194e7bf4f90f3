/* What the normalization kernels work on: sets of elements, each normalized by its own mean and variance.
 *
 *     result = activation((x - mean) / sqrt(variance + eps) * weight + bias + add)
 *
 * Layout. A set is `rows` rows of `count` neighbours; strides, in elements, lead from set to set and from row to row.
 * A set of a batch normalization is a channel and its rows are the images; of a group normalization a group, its rows
 * channels; of a layer normalization a row. weight and bias are one number for a row, or, with `affine_is_vector`, one
 * for each element of it. The gradients for them are `sums`, in double precision: two numbers for every set (the
 * channels of a batch), every row of every set, or every element of a row and every item, first all of the bias.
 *
 * Items are `sets_per_item` sets, so that nothing depends on the number of threads. Results may be written over what
 * they are computed from, element on element. */
#ifndef FASTCONV_NORMALIZATION_JOB_H
#define FASTCONV_NORMALIZATION_JOB_H

#include "correlation.h"
#include "integers.h"

typedef struct {
    char *data; /* NULL: there is no such array */
    int64_t set_stride, row_stride;
} sets_t;

enum { SUMS_OF_SETS, SUMS_OF_ROWS, SUMS_OF_ELEMENTS };

typedef struct {
    int64_t sets, rows, count, sets_per_item;
    sets_t x, add, dy, result; /* result: y, or dx, which may be left out */
    char *mean, *variance;     /* one of a set */
    const char *weight, *bias; /* NULL: 1, 0 */
    int64_t affine_period;     /* weight and bias of set i and row r: (i % period) * set_step + r * row_step */
    int64_t affine_set_step, affine_row_step;
    int64_t affine_is_vector;
    int64_t measures; /* mean and variance are those of the sets: computed forward, differentiated backward */
    int64_t sums_of;  /* what the gradients for weight and bias are one number of */
    double *bias_sums, *weight_sums;
    double eps, slope;
    activation_t activation;
} normalization_t;

/* Whole arrays of neighbours: result = activation(x + add), or dy times its derivative at x. */
typedef struct {
    int64_t count;
    const char *x, *add, *dy;
    char *result;
    double slope;
    activation_t activation;
} activation_job_t;

#define ACTIVATED_PER_ITEM 16384

static inline int64_t normalization_items(const normalization_t *job) { return div_up(job->sets, job->sets_per_item); }
static inline int64_t activation_items(const activation_job_t *job) { return div_up(job->count, ACTIVATED_PER_ITEM); }

#define ROOM normalization
#include "room.h"

#endif
