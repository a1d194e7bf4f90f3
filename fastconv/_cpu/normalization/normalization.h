/* Normalization of sets of elements and its gradient; see job.h for the formula and the layout.
 *
 * Numerics: a mean is a sum of at most NORMAL_BLOCK / LANES / 4 elements a lane, these in double precision; then both
 * moments are taken around it, so that a mean far larger than the deviations costs nothing. Elements are normalized by
 * their difference to the rounded mean. Forward and backward compute what the activation is applied to alike. */
#define NORMAL_BLOCK 1024
#define WIDE_LANES ((int64_t)(VECTOR_BYTES / 8))

typedef double NAMED(wide) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAMED(part) __attribute__((vector_size(VECTOR_BYTES / 8 * REAL_BYTES), aligned(REAL_BYTES), may_alias));

ALWAYS_INLINE void NAMED(add_lanes)(NAMED(wide) *total, NAMED(vector) v) {
    for (int64_t k = 0; k < LANES; k += WIDE_LANES)
        *total += __builtin_convertvector(*(const NAMED(part) *)((const REAL *)&v + k), NAMED(wide));
}

ALWAYS_INLINE double NAMED(total_of)(NAMED(wide) lanes) {
    double total = 0;
    for (int64_t k = 0; k < WIDE_LANES; k++) total += lanes[k];
    return total;
}

/* Adds up to NORMAL_BLOCK elements. */
ALWAYS_INLINE void NAMED(add_block)(NAMED(wide) *total, const REAL *x, int64_t count) {
    NAMED(vector) sum[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int64_t k = 0; k < 4; k++) sum[k] += NAMED(load)(x + i + k * LANES);
    for (; i + LANES <= count; i += LANES) sum[0] += NAMED(load)(x + i);
    if (i < count) sum[1] += NAMED(load_first)(x + i, count - i, 0);
    NAMED(add_lanes)(total, (sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Adds g and g * (x - mean) of up to NORMAL_BLOCK elements; g may be that difference itself (NULL). */
ALWAYS_INLINE void NAMED(add_products)(NAMED(wide) *total, NAMED(wide) *products, const REAL *g, const REAL *x,
                                       REAL mean, int64_t count) {
    NAMED(vector) sum[2] = {{0}, {0}}, product[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        for (int64_t k = 0; k < 2; k++) {
            const NAMED(vector) d = NAMED(load)(x + i + k * LANES) - mean;
            const NAMED(vector) v = g == NULL ? d : NAMED(load)(g + i + k * LANES);
            sum[k] += v;
            product[k] += v * d;
        }
    for (; i < count; i += LANES) {
        const int64_t few = min64(LANES, count - i);
        const NAMED(vector) d = (few == LANES ? NAMED(load)(x + i) : NAMED(load_first)(x + i, few, mean)) - mean;
        NAMED(vector) v = d;
        if (g != NULL) v = few == LANES ? NAMED(load)(g + i) : NAMED(load_first)(g + i, few, 0);
        sum[0] += v;
        product[0] += v * d;
    }
    NAMED(add_lanes)(total, sum[0] + sum[1]);
    NAMED(add_lanes)(products, product[0] + product[1]);
}

/* Mean and variance of a set. */
static void NAMED(measure)(const normalization_t *job, int64_t set) {
    const REAL *x = (const REAL *)job->x.data + set * job->x.set_stride;
    const double size = (double)job->rows * (double)job->count;
    NAMED(wide) total = {0}, rest = {0}, squares = {0};
    for (int64_t row = 0; row < job->rows; row++)
        for (int64_t i = 0; i < job->count; i += NORMAL_BLOCK)
            NAMED(add_block)(&total, x + row * job->x.row_stride + i, min64(NORMAL_BLOCK, job->count - i));
    const REAL mean = (REAL)(NAMED(total_of)(total) / size);
    for (int64_t row = 0; row < job->rows; row++)
        for (int64_t i = 0; i < job->count; i += NORMAL_BLOCK) NAMED(add_products)
    (&rest, &squares, NULL, x + row * job->x.row_stride + i, mean, min64(NORMAL_BLOCK, job->count - i));
    const double away = NAMED(total_of)(rest) / size, variance = NAMED(total_of)(squares) / size - away * away;
    ((REAL *)job->mean)[set] = (REAL)(mean + away);
    ((REAL *)job->variance)[set] = (REAL)(variance < 0 ? 0 : variance);
}

/* What elements of a row are scaled by and shifted to. */
typedef struct {
    const REAL *weight, *bias; /* of every element, NULL: none */
    REAL mean, inverse, scale, shift;
    double exact_inverse, exact_weight;
} NAMED(affine_t);

static inline NAMED(affine_t) NAMED(affine_of)(const normalization_t *job, int64_t set, int64_t row) {
    const int64_t at = set % job->affine_period * job->affine_set_step + row * job->affine_row_step;
    const REAL *weight = (const REAL *)job->weight, *bias = (const REAL *)job->bias;
    NAMED(affine_t) a = {.mean = ((const REAL *)job->mean)[set], .exact_weight = 1};
    a.exact_inverse = 1 / sqrt((double)((const REAL *)job->variance)[set] + job->eps);
    a.inverse = (REAL)a.exact_inverse;
    if (job->affine_is_vector) {
        a.weight = weight, a.bias = bias;
    } else {
        if (weight != NULL) a.exact_weight = weight[at];
        if (bias != NULL) a.shift = bias[at];
    }
    a.scale = (REAL)(a.exact_inverse * a.exact_weight);
    return a;
}

/* Weight and bias of the elements from i on: the row's, or their own. */
ALWAYS_INLINE NAMED(vector)
    NAMED(normalized)(const int is_vector, NAMED(affine_t) a, NAMED(vector) x, int64_t i, int64_t count) {
    NAMED(vector) scale = NAMED(splat)(a.scale), shift = NAMED(splat)(a.shift);
    if (is_vector && count >= LANES) {
        if (a.weight != NULL) scale = NAMED(load)(a.weight + i) * a.inverse;
        if (a.bias != NULL) shift = NAMED(load)(a.bias + i);
    } else if (is_vector) {
        if (a.weight != NULL) scale = NAMED(load_first)(a.weight + i, count, 0) * a.inverse;
        if (a.bias != NULL) shift = NAMED(load_first)(a.bias + i, count, 0);
    }
    return (x - a.mean) * scale + shift;
}

ALWAYS_INLINE void NAMED(normalize_run)(const activation_t activation, const int is_vector, const int adds, REAL *y,
                                        const REAL *x, const REAL *add, NAMED(affine_t) a, int64_t first,
                                        int64_t count) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        NAMED(vector) v = NAMED(normalized)(is_vector, a, NAMED(load)(x + i), first + i, LANES);
        if (adds) v += NAMED(load)(add + i);
        NAMED(store)(y + i, NAMED(activated)(activation, v, 0));
    }
    if (i < count) {
        NAMED(vector) v = NAMED(load_first)(x + i, count - i, 0);
        v = NAMED(normalized)(is_vector, a, v, first + i, count - i);
        if (adds) v += NAMED(load_first)(add + i, count - i, 0);
        v = NAMED(activated)(activation, v, 0);
        NAMED(copy_few)(y + i, (const REAL *)&v, count - i);
    }
}

/* y of up to NORMAL_BLOCK elements of a row, of which the first is number `first`, before the longer activations. */
ONE_COPY void NAMED(normalize_block)(activation_t activation, REAL *y, const REAL *x, const REAL *add,
                                     const NAMED(affine_t) *a, int64_t first, int64_t count) {
    const int is_vector = a->weight != NULL || a->bias != NULL;
#define RUN(activation)                                                                                                \
    if (is_vector && add != NULL)                                                                                      \
        NAMED(normalize_run)(activation, 1, 1, y, x, add, *a, first, count);                                           \
    else if (is_vector)                                                                                                \
        NAMED(normalize_run)(activation, 1, 0, y, x, add, *a, first, count);                                           \
    else if (add != NULL)                                                                                              \
        NAMED(normalize_run)(activation, 0, 1, y, x, add, *a, first, count);                                           \
    else                                                                                                               \
        NAMED(normalize_run)(activation, 0, 0, y, x, add, *a, first, count);
    if (activation == ACTIVATION_RELU) {
        RUN(ACTIVATION_RELU)
    } else if (activation == ACTIVATION_RELU6) {
        RUN(ACTIVATION_RELU6)
    } else {
        RUN(ACTIVATION_NONE)
    }
#undef RUN
}

ALWAYS_INLINE int NAMED(is_long)(activation_t activation) {
    return activation != ACTIVATION_NONE && activation != ACTIVATION_RELU && activation != ACTIVATION_RELU6;
}

static void NAMED(normalize)(const void *argument, int64_t item, void *scratch) {
    const normalization_t *job = argument;
    const epilogue_t epilogue = {.activation = job->activation, .slope = job->slope};
    const int64_t end = min64((item + 1) * job->sets_per_item, job->sets);
    (void)scratch;
    for (int64_t set = item * job->sets_per_item; set < end; set++) {
        if (job->measures) NAMED(measure)(job, set);
        for (int64_t row = 0; row < job->rows; row++) {
            const NAMED(affine_t) a = NAMED(affine_of)(job, set, row);
            const REAL *x = (const REAL *)job->x.data + set * job->x.set_stride + row * job->x.row_stride;
            const REAL *add = (const REAL *)job->add.data;
            REAL *y = (REAL *)job->result.data + set * job->result.set_stride + row * job->result.row_stride;
            if (add != NULL) add += set * job->add.set_stride + row * job->add.row_stride;
            for (int64_t i = 0; i < job->count; i += NORMAL_BLOCK) {
                const int64_t count = min64(NORMAL_BLOCK, job->count - i);
                NAMED(normalize_block)(job->activation, y + i, x + i, add == NULL ? NULL : add + i, &a, i, count);
                if (!NAMED(is_long)(job->activation)) continue;
                const NAMED(finish_t) rows = {.rows = 1, .count = count, .result = y + i, .stride = 1};
                NAMED(finish_vectors)(&epilogue, &rows);
            }
        }
    }
}

/* dy times the activation's slope, of a block: dy itself where there is none, else `buffer`. */
static inline const REAL *NAMED(slope_block)(const normalization_t *job, REAL *buffer, const REAL *dy, const REAL *x,
                                             const NAMED(affine_t) *a, int64_t first, int64_t count) {
    REAL z[NORMAL_BLOCK];
    if (job->activation == ACTIVATION_NONE) return dy;
    NAMED(normalize_block)(ACTIVATION_NONE, z, x, NULL, a, first, count);
    NAMED(slope_vectors)(job->activation, buffer, dy, z, count, (REAL)job->slope);
    return buffer;
}

/* Adds the gradients for weight and bias of every element of a block; `buffer` gets g times the weight. */
static void NAMED(add_elements)(const normalization_t *job, double *bias_sums, double *weight_sums, REAL *buffer,
                                const REAL *g, const REAL *x, const NAMED(affine_t) *a, int64_t count) {
    (void)job;
    for (int64_t i = 0; i < count; i++) {
        bias_sums[i] += g[i];
        weight_sums[i] += (double)(g[i] * (x[i] - a->mean)) * a->exact_inverse;
    }
    if (a->weight != NULL)
        for (int64_t i = 0; i < count; i++) buffer[i] = g[i] * a->weight[i];
}

/* dx of a block: g * scale + (x - mean) * slope + shift. */
static void NAMED(gradient_block)(REAL *dx, const REAL *g, const REAL *x, REAL mean, REAL scale, REAL slope, REAL shift,
                                  int64_t count) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        NAMED(store)(dx + i, NAMED(load)(g + i) * scale + ((NAMED(load)(x + i) - mean) * slope + shift));
    if (i < count) {
        const NAMED(vector) d = NAMED(load_first)(x + i, count - i, mean) - mean;
        const NAMED(vector) v = NAMED(load_first)(g + i, count - i, 0) * scale + (d * slope + shift);
        NAMED(copy_few)(dx + i, (const REAL *)&v, count - i);
    }
}

static void NAMED(gradient_of_set)(const normalization_t *job, int64_t item, int64_t set) {
    const double size = (double)job->rows * (double)job->count;
    const int is_vector = job->sums_of == SUMS_OF_ELEMENTS;
    REAL buffer[NORMAL_BLOCK];
    double total = 0, product = 0, bias_sum = 0, weight_sum = 0;
    for (int64_t row = 0; row < job->rows; row++) {
        const NAMED(affine_t) a = NAMED(affine_of)(job, set, row);
        const REAL *x = (const REAL *)job->x.data + set * job->x.set_stride + row * job->x.row_stride;
        const REAL *dy = (const REAL *)job->dy.data + set * job->dy.set_stride + row * job->dy.row_stride;
        NAMED(wide) sums = {0}, products = {0};
        for (int64_t i = 0; i < job->count; i += NORMAL_BLOCK) {
            const int64_t count = min64(NORMAL_BLOCK, job->count - i), at = item * job->count + i;
            const REAL *g = NAMED(slope_block)(job, buffer, dy + i, x + i, &a, i, count);
            if (is_vector) {
                NAMED(affine_t) here = a;
                if (a.weight != NULL) here.weight += i;
                NAMED(add_elements)
                (job, job->bias_sums + at, job->weight_sums + at, buffer, g, x + i, &here, count);
                if (a.weight != NULL) g = buffer;
            }
            NAMED(add_products)(&sums, &products, g, x + i, a.mean, count);
        }
        const double row_sum = NAMED(total_of)(sums), row_product = NAMED(total_of)(products);
        total += row_sum * a.exact_weight;
        product += row_product * a.exact_weight;
        bias_sum += row_sum;
        weight_sum += row_product * a.exact_inverse;
        if (job->sums_of == SUMS_OF_ROWS) {
            job->bias_sums[set * job->rows + row] = row_sum;
            job->weight_sums[set * job->rows + row] = row_product * a.exact_inverse;
        }
    }
    if (job->sums_of == SUMS_OF_SETS) job->bias_sums[set] = bias_sum, job->weight_sums[set] = weight_sum;
    if (job->result.data == NULL) return;
    for (int64_t row = 0; row < job->rows; row++) {
        const NAMED(affine_t) a = NAMED(affine_of)(job, set, row);
        const REAL *x = (const REAL *)job->x.data + set * job->x.set_stride + row * job->x.row_stride;
        const REAL *dy = (const REAL *)job->dy.data + set * job->dy.set_stride + row * job->dy.row_stride;
        REAL *dx = (REAL *)job->result.data + set * job->result.set_stride + row * job->result.row_stride;
        const double inverse = a.exact_inverse, share = job->measures ? -inverse / size : 0;
        const REAL shift = (REAL)(share * total), slope = (REAL)(share * product * inverse * inverse);
        for (int64_t i = 0; i < job->count; i += NORMAL_BLOCK) {
            const int64_t count = min64(NORMAL_BLOCK, job->count - i);
            const REAL *g = NAMED(slope_block)(job, buffer, dy + i, x + i, &a, i, count);
            if (a.weight != NULL) {
                for (int64_t j = 0; j < count; j++) buffer[j] = g[j] * a.weight[i + j];
                g = buffer;
            }
            NAMED(gradient_block)(dx + i, g, x + i, a.mean, a.scale, slope, shift, count);
        }
    }
}

static void NAMED(normalize_gradient)(const void *argument, int64_t item, void *scratch) {
    const normalization_t *job = argument;
    const int64_t end = min64((item + 1) * job->sets_per_item, job->sets);
    (void)scratch;
    for (int64_t set = item * job->sets_per_item; set < end; set++) NAMED(gradient_of_set)(job, item, set);
}

#undef NORMAL_BLOCK
#undef WIDE_LANES
