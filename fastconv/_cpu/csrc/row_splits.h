/* backward_weight with filters as lanes: the part of an item, and the result from the sums of all splits. */

/* What an item of a weight gradient adds up: rows [begin, end) into the sums of blocks [first, last). */
typedef struct {
    int64_t begin;
    int64_t end;
    int64_t first;
    int64_t last;
    int64_t size; /* sums of a block */
    REAL *sums;   /* of the split: of block 0 */
} NAMED(gradient_part_t);

/* A part of the filters over one pass of one split of the rows; its sums are zeros before the first pass. */
static NAMED(gradient_part_t) NAMED(gradient_part)(const row_splits_t *job, int64_t item) {
    const correlation_t *c = &job->correlation;
    const int64_t blocks = div_up(c->groups * c->filters, LANES), split = item / job->parts, part = item % job->parts;
    const int64_t rows = split_rows(job), begin = split * rows + job->pass_first;
    const int64_t size = tap_count(c) * c->channels * LANES;
    const NAMED(gradient_part_t) found = {
        .begin = begin,
        .end = min64(min64(begin + job->pass_rows, (split + 1) * rows), row_count(c)),
        .first = part * blocks / job->parts,
        .last = (part + 1) * blocks / job->parts,
        .size = size,
        .sums = (REAL *)job->partial + split * blocks * size,
    };
    if (job->pass_first == 0) NAMED(zero_line)(found.sums + found.first * size, (found.last - found.first) * size);
    return found;
}

/* One vector of channels of the result, from `filter` on: its splits, added in order. */
static void NAMED(gradient_reduce)(const row_splits_t *job, int64_t block, int64_t filter) {
    const correlation_t *c = &job->correlation;
    const int64_t filters = c->groups * c->filters, size = tap_count(c) * c->channels * LANES;
    const int64_t pitch = div_up(filters, LANES) * size, lanes = min64(LANES, filters - filter);
    const REAL *sums = (const REAL *)job->partial + block * size;
    NAMED(vector) check = {0};
    int64_t offset[LANES];
    for (int64_t l = 0; l < lanes; l++)
        offset[l] =
            (filter + l) / c->filters * c->weight_group_stride + (filter + l) % c->filters * c->weight_stride[0];
    for (int64_t tap = 0; tap < tap_count(c); tap++) {
        REAL *weight = (REAL *)c->weight + tap / c->taps[2] / c->taps[1] * c->weight_stride[2] +
                       tap / c->taps[2] % c->taps[1] * c->weight_stride[3] + tap % c->taps[2] * c->weight_stride[4];
        for (int64_t j = 0; j < c->channels; j++, sums += LANES) {
            NAMED(vector) sum = NAMED(load)(sums);
            for (int64_t split = 1; split < job->splits; split++) sum += NAMED(load)(sums + split * pitch);
            check += sum * 0;
            for (int64_t l = 0; l < lanes; l++) weight[offset[l] + j * c->weight_stride[1]] = sum[l];
        }
    }
    for (int64_t l = 0; l < LANES; l++)
        if (!(check[l] == 0)) *job->spoiled = 1;
}
