/* Sums over all axes but the channels; see channel_sums_job.h for the formula and the items.
 *
 * Numerics: in double precision. SUM_BLOCK elements are added in the lanes of a few vectors, blocks in pairs, pairs in
 * pairs and so on, so that the error grows with the logarithm of their number; rounded to REAL once. */
#define SUM_LANES ((int64_t)(VECTOR_BYTES / 8))

typedef double NAMED(sum_wide) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAMED(sum_narrow)
    __attribute__((vector_size(VECTOR_BYTES / 8 * REAL_BYTES), aligned(REAL_BYTES), may_alias));

#ifndef SUM_BLOCK
#define SUM_BLOCK 1024
#define SUM_LEVELS 64

/* Sums of 2^k blocks each, one for every bit that is set in the number of blocks so far, for `width` channels. */
typedef struct {
    int64_t blocks;
    int64_t width;
    int64_t depth;
    double sums[SUM_LEVELS][SUM_CHANNELS];
} sum_pairs_t;

static void sum_pairs_add(sum_pairs_t *p, const double *block) {
    double *top = p->sums[p->depth];
    for (int64_t c = 0; c < p->width; c++) top[c] = block[c];
    for (int64_t bits = p->blocks; bits & 1; bits >>= 1) {
        double *below = p->sums[--p->depth];
        for (int64_t c = 0; c < p->width; c++) below[c] += p->sums[p->depth + 1][c];
    }
    p->depth++;
    p->blocks++;
}

/* The sums of all blocks. */
static const double *sum_pairs_total(sum_pairs_t *p) {
    if (p->depth == 0)
        for (int64_t c = 0; c < p->width; c++) p->sums[0][c] = 0;
    for (int64_t level = p->depth - 2; level >= 0; level--)
        for (int64_t c = 0; c < p->width; c++) p->sums[level][c] += p->sums[level + 1][c];
    return p->sums[0];
}
#endif

/* The sum of `count` elements of one channel. */
static double NAMED(sum_elements)(const REAL *source, int64_t count, int64_t stride) {
    NAMED(sum_wide) lanes[4] = {{0}, {0}, {0}, {0}};
    double total = 0;
    int64_t i = 0;
    if (stride == 1) {
        for (; i + 4 * SUM_LANES <= count; i += 4 * SUM_LANES)
            for (int64_t k = 0; k < 4; k++) {
                const NAMED(sum_narrow) *v = (const NAMED(sum_narrow) *)(source + i + k * SUM_LANES);
                lanes[k] += __builtin_convertvector(*v, NAMED(sum_wide));
            }
        lanes[0] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        for (int64_t k = 0; k < SUM_LANES; k++) total += lanes[0][k];
    }
    for (; i < count; i++) total += source[i * stride];
    return total;
}

/* The sums of `width` neighbouring channels over `count` pixels. */
static void NAMED(sum_pixels)(const REAL *source, int64_t count, int64_t stride, int64_t width, double *sums) {
    if (width == SUM_CHANNELS) {
        NAMED(sum_wide) lanes[SUM_CHANNELS / (VECTOR_BYTES / 8)];
        for (int64_t k = 0; k < SUM_CHANNELS / SUM_LANES; k++) lanes[k] = (NAMED(sum_wide)){0};
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < SUM_CHANNELS / SUM_LANES; k++) {
                const NAMED(sum_narrow) *v = (const NAMED(sum_narrow) *)(source + i * stride + k * SUM_LANES);
                lanes[k] += __builtin_convertvector(*v, NAMED(sum_wide));
            }
        for (int64_t c = 0; c < SUM_CHANNELS; c++) sums[c] = lanes[c / SUM_LANES][c % SUM_LANES];
        return;
    }
    for (int64_t c = 0; c < width; c++) sums[c] = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < width; c++) sums[c] += source[i * stride + c];
}

static void NAMED(channel_sums)(const void *argument, int64_t item, void *scratch) {
    const channel_sums_job_t *job = argument;
    const int64_t block = job->channel_stride == 1 ? SUM_CHANNELS : 1;
    const int64_t first = item * block, width = min64(block, job->channels - first);
    const REAL *source = (const REAL *)job->source + first * job->channel_stride;
    int64_t size[4], stride[4], axis = 3;
    (void)scratch;
    for (int64_t i = 0; i < 4; i++) size[i] = 1, stride[i] = 0;
    /* Axes that continue each other are one. */
    size[3] = job->size[3], stride[3] = job->stride[3];
    for (int64_t i = 2; i >= 0; i--) {
        if (job->size[i] == 1) continue;
        if (size[axis] == 1 || job->stride[i] == size[axis] * stride[axis]) {
            stride[axis] = size[axis] == 1 ? job->stride[i] : stride[axis];
            size[axis] *= job->size[i];
        } else {
            axis--;
            size[axis] = job->size[i], stride[axis] = job->stride[i];
        }
    }
    sum_pairs_t pairs = {.blocks = 0, .width = width, .depth = 0};
    for (int64_t n = 0; n < size[0]; n++)
        for (int64_t d = 0; d < size[1]; d++)
            for (int64_t h = 0; h < size[2]; h++) {
                const REAL *row = source + n * stride[0] + d * stride[1] + h * stride[2];
                for (int64_t w = 0; w < size[3]; w += SUM_BLOCK) {
                    const int64_t count = min64(SUM_BLOCK, size[3] - w);
                    double sums[SUM_CHANNELS];
                    if (width == 1)
                        sums[0] = NAMED(sum_elements)(row + w * stride[3], count, stride[3]);
                    else
                        NAMED(sum_pixels)(row + w * stride[3], count, stride[3], width, sums);
                    sum_pairs_add(&pairs, sums);
                }
            }
    const double *total = sum_pairs_total(&pairs);
    for (int64_t c = 0; c < width; c++) ((REAL *)job->result)[(first + c) * job->result_stride] = (REAL)total[c];
}
#undef SUM_LANES
