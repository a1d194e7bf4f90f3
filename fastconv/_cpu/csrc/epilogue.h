/* result = activation(result + bias + add) on rows of elements, for the element type REAL (included once per type).
 *
 * Whole vectors, the last of which begins early rather than end late; elements that are no neighbours go by way of a
 * buffer. NaN stays NaN through every activation. gelu is the exact one. */
#include "elementary.h"

/* Rows of elements and what belongs to them. A bias is one value for all rows (both of its strides 0), one for each
 * row, or one for each element of a row; all strides may be 0 where there is one row. */
typedef struct {
    int64_t rows, count;
    REAL *result;
    int64_t row_stride, stride;
    const REAL *bias;                     /* NULL: none */
    int64_t bias_row_stride, bias_stride; /* 0 or 1 */
    const REAL *add;                      /* NULL: none */
    int64_t add_row_stride, add_stride;
} NAMED(finish_t);

/* Whether an activation is min(max(x, low), high), as vectors of sums in registers are given. */
static inline int NAMED(is_clamp)(activation_t activation, REAL *low, REAL *high) {
    *low = activation == ACTIVATION_NONE ? -(REAL)INFINITY : 0;
    *high = activation == ACTIVATION_RELU6 ? 6 : (REAL)INFINITY;
    return activation == ACTIVATION_NONE || activation == ACTIVATION_RELU || activation == ACTIVATION_RELU6;
}

ALWAYS_INLINE NAMED(vector) NAMED(activated)(const activation_t activation, NAMED(vector) v, REAL slope) {
    const NAMED(vector) zero = {0};
    switch (activation) {
    case ACTIVATION_RELU: return NAMED(at_least)(zero, v);
    case ACTIVATION_RELU6: return NAMED(at_most)(NAMED(splat)(6), NAMED(at_least)(zero, v));
    case ACTIVATION_LEAKY_RELU: return NAMED(where_less)(v, zero, v * slope, v);
    case ACTIVATION_SILU: return NAMED(silu)(v);
    case ACTIVATION_GELU: return NAMED(gelu)(v);
    case ACTIVATION_TANH: return NAMED(tanh)(v);
    case ACTIVATION_SIGMOID: return NAMED(sigmoid)(v);
    default: return v;
    }
}

/* The first vector from element i of a row on. */
ALWAYS_INLINE NAMED(vector)
    NAMED(finished)(const activation_t activation, const int biased, const int adds, const REAL *result,
                    NAMED(vector) bias, const REAL *biases, const REAL *add, int64_t i, REAL slope) {
    NAMED(vector) v = NAMED(load)(result + i) + (biased ? NAMED(load)(biases + i) : bias);
    if (adds) v += NAMED(load)(add + i);
    return NAMED(activated)(activation, v, slope);
}

/* Rows of neighbours. `biased`: every element of a row has its own bias. */
ALWAYS_INLINE void NAMED(finish_neighbours)(const activation_t activation, const int biased, const int adds,
                                            const NAMED(finish_t) *r, REAL slope) {
    const int64_t count = r->count, last = count - LANES;
    REAL *to = r->result;
    const REAL *biases = r->bias, *add = r->add;
    for (int64_t row = 0; row < r->rows; row++, to += r->row_stride) {
        /* x + -0 is x */
        const NAMED(vector) bias = NAMED(splat)(biased || biases == NULL ? (REAL)-0.0 : *biases);
        if (last < 0) {
            REAL few[3][LANES] = {{0}};
            NAMED(copy_few)(few[0], to, count);
            if (biased) NAMED(copy_few)(few[1], biases, count);
            if (adds) NAMED(copy_few)(few[2], add, count);
            const NAMED(vector) v = NAMED(finished)(activation, biased, adds, few[0], bias, few[1], few[2], 0, slope);
            NAMED(copy_few)(to, (const REAL *)&v, count);
        } else {
            const NAMED(vector) v = NAMED(finished)(activation, biased, adds, to, bias, biases, add, last, slope);
            for (int64_t i = 0; i < last; i += LANES)
                NAMED(store)(to + i, NAMED(finished)(activation, biased, adds, to, bias, biases, add, i, slope));
            NAMED(store)(to + last, v);
        }
        if (biases != NULL) biases += r->bias_row_stride;
        if (adds) add += r->add_row_stride;
    }
}

ALWAYS_INLINE void NAMED(finish_any)(const activation_t activation, const NAMED(finish_t) *r, REAL slope) {
    const int biased = r->bias != NULL && r->bias_stride != 0;
    if (biased && r->add != NULL)
        NAMED(finish_neighbours)(activation, 1, 1, r, slope);
    else if (biased)
        NAMED(finish_neighbours)(activation, 1, 0, r, slope);
    else if (r->add != NULL)
        NAMED(finish_neighbours)(activation, 0, 1, r, slope);
    else
        NAMED(finish_neighbours)(activation, 0, 0, r, slope);
}

ONE_COPY void NAMED(finish_sums)(const NAMED(finish_t) *r) { NAMED(finish_any)(ACTIVATION_NONE, r, 0); }

/* The long activations have code of their own only for a bias that a row shares; what else is added is so before. */
ALWAYS_INLINE void NAMED(finish_long)(const activation_t activation, const NAMED(finish_t) *rows) {
    NAMED(finish_t) r = *rows;
    if (r.add != NULL || (r.bias != NULL && r.bias_stride != 0)) {
        NAMED(finish_sums)(rows);
        r.bias = r.add = NULL;
    }
    NAMED(finish_neighbours)(activation, 0, 0, &r, 0);
}

/* Rows of neighbours. */
ONE_COPY void NAMED(finish_vectors)(const epilogue_t *e, const NAMED(finish_t) *r) {
    const REAL slope = (REAL)e->slope;
    switch (e->activation) {
    case ACTIVATION_NONE: NAMED(finish_sums)(r); break;
    case ACTIVATION_RELU: NAMED(finish_any)(ACTIVATION_RELU, r, slope); break;
    case ACTIVATION_RELU6: NAMED(finish_any)(ACTIVATION_RELU6, r, slope); break;
    case ACTIVATION_LEAKY_RELU: NAMED(finish_any)(ACTIVATION_LEAKY_RELU, r, slope); break;
    case ACTIVATION_SILU: NAMED(finish_long)(ACTIVATION_SILU, r); break;
    case ACTIVATION_GELU: NAMED(finish_long)(ACTIVATION_GELU, r); break;
    case ACTIVATION_TANH: NAMED(finish_long)(ACTIVATION_TANH, r); break;
    case ACTIVATION_SIGMOID: NAMED(finish_long)(ACTIVATION_SIGMOID, r); break;
    }
}

#define EPILOGUE_RUN 256 /* elements of a row that go by way of a buffer at a time */

/* Rows at any strides. Where they follow each other and share what is added to them they are one. */
static inline void NAMED(finish_rows)(const epilogue_t *e, const NAMED(finish_t) *rows) {
    const int is_one = rows->rows > 1 && rows->row_stride == rows->count * rows->stride &&
                       (rows->bias == NULL || (rows->bias_row_stride == 0 && rows->bias_stride == 0)) &&
                       (rows->add == NULL || rows->add_row_stride == rows->count * rows->add_stride);
    const int are_neighbours = rows->stride == 1 && (rows->add == NULL || rows->add_stride == 1);
    if (are_neighbours && !is_one) {
        NAMED(finish_vectors)(e, rows);
        return;
    }
    NAMED(finish_t) r = *rows;
    if (is_one) {
        r.count *= r.rows;
        r.rows = 1;
    }
    if (are_neighbours) {
        NAMED(finish_vectors)(e, &r);
        return;
    }
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t i = 0; i < r.count; i += EPILOGUE_RUN) {
            REAL run[EPILOGUE_RUN], added[EPILOGUE_RUN], *result = r.result + row * r.row_stride + i * r.stride;
            const int64_t count = min64(r.count - i, EPILOGUE_RUN);
            NAMED(finish_t) part = {.rows = 1, .count = count, .result = run, .bias_stride = r.bias_stride};
            if (r.bias != NULL) part.bias = r.bias + row * r.bias_row_stride + i * r.bias_stride;
            if (r.add != NULL) {
                NAMED(copy_rows)(added, 0, r.add + row * r.add_row_stride + i * r.add_stride, 0, r.add_stride, count,
                                 1);
                part.add = added;
            }
            NAMED(copy_rows)(run, 0, result, 0, r.stride, count, 1);
            NAMED(finish_vectors)(e, &part);
            NAMED(spread_rows)(result, 0, r.stride, 0, run, 0, count, 1);
        }
}
#undef EPILOGUE_RUN

static inline int NAMED(epilogue_is_empty)(const epilogue_t *epilogue) {
    return epilogue->bias == NULL && epilogue->add == NULL && epilogue->activation == ACTIVATION_NONE;
}
