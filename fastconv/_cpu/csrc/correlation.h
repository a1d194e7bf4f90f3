/* The C view of a convolution problem, shared by every kernel.
 *
 * Formula. All kernels work on one object, a correlation per group:
 *
 *     result[n, f, p] = sum over c, t of  source[n, c, p*step + first + t*delta] * weight[f, c, t]
 *
 * with p and t running over three axes. `forward` is one correlation. `backward_input` is one per stride phase: the
 * elements i = phase + stride*p of the input see every tap t of one residue class only, so that source (the output
 * gradient) is read at step 1 and the weights are walked backwards. `backward_weight` is the same sum with the pixels
 * as the reduction: weight[f, c, t] = sum over n, p of source * result.
 *
 * Layout. Strides are in elements, of any sign, and 0 is allowed; nothing is assumed contiguous or aligned beyond the
 * element. Source pixels outside [0, source_size) are zeros.
 *
 * Preconditions. Sizes are >= 0, taps may be 0 (the sum is then empty), pointers are valid for every index inside.
 */
#ifndef FASTCONV_CORRELATION_H
#define FASTCONV_CORRELATION_H

#include <stdint.h>

typedef struct {
    int64_t batch;
    int64_t groups;
    int64_t channels; /* source channels of one group */
    int64_t filters;  /* result channels of one group */
    int64_t pixels[3];
    int64_t taps[3];
    int64_t source_size[3];
    /* source index on an axis = pixel*step + first + tap*delta */
    int64_t step[3];
    int64_t first[3];
    int64_t delta[3];

    char *source;
    char *weight;
    char *result;
    int64_t source_stride[5]; /* n, channel, d, h, w; group g starts at channel g*channels */
    int64_t result_stride[5]; /* n, filter, d, h, w; group g starts at filter g*filters */
    int64_t weight_stride[5]; /* filter, channel, tap d, h, w; `weight` points at the first tap used */
    int64_t weight_group_stride;
} correlation_t;

static inline int64_t tap_count(const correlation_t *c) { return c->taps[0] * c->taps[1] * c->taps[2]; }

/* Whether the weights of one filter and channel lie in the order of the taps, without gaps. */
static inline int taps_are_dense(const correlation_t *c) {
    int64_t expected = 1;
    for (int axis = 2; axis >= 0; axis--) {
        if (c->taps[axis] > 1 && c->weight_stride[2 + axis] != expected) return 0;
        expected *= c->taps[axis];
    }
    return 1;
}

/* What is done to a result before it is stored, in this order: bias, add, activation. */
typedef enum {
    ACTIVATION_NONE,
    ACTIVATION_RELU,
    ACTIVATION_RELU6,
    ACTIVATION_LEAKY_RELU,
    ACTIVATION_SILU,
    ACTIVATION_GELU,
    ACTIVATION_TANH,
    ACTIVATION_SIGMOID
} activation_t;

typedef struct {
    char *bias;            /* one value per result channel over all groups, contiguous; NULL: none */
    char *add;             /* same shape as result; NULL: none */
    int64_t add_stride[5]; /* n, filter, d, h, w, in elements */
    double slope;          /* of leaky_relu */
    activation_t activation;
} epilogue_t;

/* Work is cut into items that are independent of each other and of the number of threads. A kernel computes one item;
 * it never allocates, never starts a thread and never sees Python. `job` is the algorithm's own structure, `scratch`
 * the calling thread's own 64-byte aligned memory of the size the algorithm asked for. */
typedef void (*item_fn)(const void *job, int64_t item, void *scratch);

#endif
