#include "reference.h"

#include <complex.h>

/* Elements of a row that are computed in one go: an item must not take long, for KeyboardInterrupt waits for it. */
enum { PIECE = 32 };

static int64_t pieces_of(int64_t width) { return (width + PIECE - 1) / PIECE; }

int64_t reference_items(const reference_job_t *job) {
    const correlation_t *c = &job->correlation;
    const int64_t *pixels = c->pixels, *source = c->source_size, *taps = c->taps;
    switch (job->direction) {
    case REFERENCE_FORWARD: return c->batch * c->groups * c->filters * pixels[0] * pixels[1] * pieces_of(pixels[2]);
    case REFERENCE_BACKWARD_INPUT:
        return c->batch * c->groups * c->channels * source[0] * source[1] * pieces_of(source[2]);
    default: return c->groups * c->filters * c->channels * taps[0] * taps[1] * taps[2];
    }
}

static int64_t dot5(const int64_t *stride, int64_t a, int64_t b, const int64_t *i) {
    return a * stride[0] + b * stride[1] + i[0] * stride[2] + i[1] * stride[3] + i[2] * stride[4];
}

/* The image, channel and first element of piece number `item` of a row; returns where the piece ends. */
static int64_t split_piece(int64_t item, int64_t channels, const int64_t *size, int64_t *n, int64_t *channel,
                           int64_t *index) {
    const int64_t pieces = pieces_of(size[2]);
    index[2] = item % pieces * PIECE;
    item /= pieces;
    index[1] = item % size[1];
    item /= size[1];
    index[0] = item % size[0];
    item /= size[0];
    *channel = item % channels;
    *n = item / channels;
    return index[2] + PIECE < size[2] ? index[2] + PIECE : size[2];
}

/* Steps a 3-axis index; 0 when it has wrapped round. */
static int next(int64_t *i, const int64_t *size) {
    for (int axis = 2; axis >= 0; axis--) {
        if (++i[axis] < size[axis]) return 1;
        i[axis] = 0;
    }
    return 0;
}

static int is_empty(const int64_t *size) { return size[0] <= 0 || size[1] <= 0 || size[2] <= 0; }

/* Source index of a pixel and a tap; 0 when it lies in the padding. */
static int source_index(const correlation_t *c, const int64_t *pixel, const int64_t *tap, int64_t *index) {
    int inside = 1;
    for (int axis = 0; axis < 3; axis++) {
        index[axis] = pixel[axis] * c->step[axis] + c->first[axis] + tap[axis] * c->delta[axis];
        inside &= index[axis] >= 0 && index[axis] < c->source_size[axis];
    }
    return inside;
}

/* The pixel whose tap lands on a source index; 0 when there is none. */
static int pixel_of(const correlation_t *c, const int64_t *index, const int64_t *tap, int64_t *pixel) {
    for (int axis = 0; axis < 3; axis++) {
        int64_t offset = index[axis] - c->first[axis] - tap[axis] * c->delta[axis];
        if (offset < 0 || offset % c->step[axis] != 0) return 0;
        pixel[axis] = offset / c->step[axis];
        if (pixel[axis] >= c->pixels[axis]) return 0;
    }
    return 1;
}

/* By the plain formula, as in NumPy; that of C's Annex G recovers infinities. */
static inline double complex complex_product(double complex a, double complex b) {
    return __builtin_complex(creal(a) * creal(b) - cimag(a) * cimag(b), creal(a) * cimag(b) + cimag(a) * creal(b));
}
#define REAL_PRODUCT(a, b) ((a) * (b))

#define REFERENCE float32
#define ELEMENT float
#define SUM double
#define RESULT float
#define PRODUCT REAL_PRODUCT
#include "reference_loops.h"

#define REFERENCE float64
#define ELEMENT double
#define SUM double
#define RESULT double
#define PRODUCT REAL_PRODUCT
#include "reference_loops.h"

#define REFERENCE complex64
#define ELEMENT float complex
#define SUM double complex
#define RESULT float complex
#define PRODUCT complex_product
#include "reference_loops.h"

#define REFERENCE complex128
#define ELEMENT double complex
#define SUM double complex
#define RESULT double complex
#define PRODUCT complex_product
#include "reference_loops.h"

/* Sums wrap modulo 2^32, which is what int32 accumulators do; unsigned arithmetic makes that defined. */
#define REFERENCE int8
#define ELEMENT int16_t
#define SUM uint32_t
#define RESULT uint32_t
#define PRODUCT REAL_PRODUCT
#include "reference_loops.h"
