/* backward_weight of split_bf16: pixels are the reduction, two images the pairs of the dot products, so that a tap is a
 * constant number of whole lines (job.h has the layout, tiles.h the product).
 *
 * Block by block of pixels, one pass each: items convert one block of channels or of filters, then items multiply one
 * panel of filters by one of channels for all taps, and add to the totals in the order of the passes. At the end the
 * totals are transposed into the weight. Between the rows of the output gradient, where the source's lines go on, and
 * for images that are not there, its tiles hold zeros, and the lines nothing that is not finite. */

static int64_t gradient_blocks(const split_job_t *job) { return 2 * split_panels(job); } /* of 16 filters */

/* Geometry of a pass: its first image and pixel, the pixels of a whole image or half, its tiles. */
typedef struct {
    int64_t image;
    int64_t pixel[3];
    int64_t pixels[3];
    split_tiling_t tiling;
} pass_t;

static pass_t pass_of(const split_job_t *job) {
    pass_t p = {0};
    int64_t index = job->pass;
    for (int axis = 2; axis >= 0; axis--) {
        const int64_t blocks = div_up(job->pixels[axis], job->block[axis]);
        p.pixel[axis] = index % blocks * job->block[axis];
        p.pixels[axis] = min64(job->pixels[axis] - p.pixel[axis], job->block[axis]);
        index /= blocks;
    }
    p.image = index * job->images * job->image_sets;
    p.tiling = split_tiling(job, p.pixels, 16);
    return p;
}

/* Line of the first pixel of row (d, h) among those of a set's tiles. */
static int64_t row_line(const split_job_t *job, const pass_t *p, int64_t d, int64_t h) {
    if (p->tiling.is_flat) return (d * split_slots(job, 1) + h) * split_slots(job, 2) * job->images;
    return (d * p->pixels[1] + h) * p->tiling.row_tiles * 16;
}

/* The row of the output gradient of one filter that belongs to pixel row (d, h) of an image or half; NULL: none. */
static const char *gradient_row(const split_job_t *job, const pass_t *p, int64_t number, int64_t filter, int64_t d,
                                int64_t h) {
    const correlation_t *c = split_shape(job);
    part_t part = part_of(job, number, p->pixel);
    if (part.source == NULL) return NULL;
    const int64_t halves = split_is_halved(job) ? 2 : 1, at_d = part.first[0] + d, at_h = part.first[1] + h;
    if (at_d >= c->pixels[0] || at_h >= c->pixels[1]) return NULL;
    const int64_t at = number / halves * c->result_stride[0] + filter * c->result_stride[1] +
                       at_d * c->result_stride[2] + at_h * c->result_stride[3] + part.first[2] * c->result_stride[4];
    return c->result + at * job->element_bytes;
}

/* One filter of one set: pairs of images, in the order of the set's lines, into flat[piece][line]. */
static void flatten_filter(const split_job_t *job, const pass_t *p, magnitude_t *magnitude, int64_t set, int64_t filter,
                           int64_t lines, int32_t *flat) {
    const int64_t stride = split_shape(job)->result_stride[4], pixel_bytes = stride * job->element_bytes;
    memset(flat, 0, job->pieces * lines * 4);
    for (int64_t n = 0; n < job->images; n++)
        for (int64_t d = 0; d < p->pixels[0]; d++)
            for (int64_t h = 0; h < p->pixels[1]; h++) {
                const int64_t number = 2 * (p->image + set * job->images + n);
                const char *first = gradient_row(job, p, number, filter, d, h);
                const char *second = gradient_row(job, p, number + 1, filter, d, h);
                int32_t *to = flat + row_line(job, p, d, h) + n;
                for (int64_t w = 0; w < p->pixels[2]; w += 16) {
                    const int64_t count = min64(p->pixels[2] - w, 16);
                    __m512 a = _mm512_setzero_ps(), b = a;
                    if (first != NULL) a = load_apart(job->element, first + w * pixel_bytes, stride, count);
                    if (second != NULL) b = load_apart(job->element, second + w * pixel_bytes, stride, count);
                    note_magnitude(magnitude, a);
                    note_magnitude(magnitude, b);
                    for (int64_t piece = 0; piece < job->pieces; piece++) {
                        const __m512i pairs = take_pieces(&a, &b);
                        int32_t *at = to + piece * lines + w * job->images, values[16];
                        if (job->images == 1) {
                            _mm512_mask_storeu_epi32(at, first_lanes(count), pairs);
                            continue;
                        }
                        _mm512_storeu_si512(values, pairs);
                        for (int64_t i = 0; i < count; i++) at[i * job->images] = values[i];
                    }
                }
            }
}

/* One block of 16 filters as tiles. */
static void convert_gradient(const split_job_t *job, const pass_t *p, magnitude_t *magnitude, int64_t group,
                             int64_t block, int32_t *flat) {
    const correlation_t *c = split_shape(job);
    const int64_t tiles = p->tiling.set_tiles, lines = tiles * 16;
    char *to = job->gradient + (group * gradient_blocks(job) + block) * split_gradient_bytes(job);
    for (int64_t set = 0; set < job->image_sets; set++)
        for (int64_t row = 0; row < 16; row++) {
            const int64_t filter = block * 16 + row;
            if (filter < c->filters)
                flatten_filter(job, p, magnitude, set, group * c->filters + filter, lines, flat);
            else
                memset(flat, 0, job->pieces * lines * 4);
            for (int64_t tile = 0; tile < tiles; tile++)
                for (int64_t piece = 0; piece < job->pieces; piece++) {
                    char *at = to + ((set * tiles + tile) * job->pieces + piece) * 1024 + row * 64;
                    _mm512_store_si512(at, _mm512_load_si512(flat + piece * lines + tile * 16));
                }
        }
}

/* Item: [group][block of 16 channels, then of 16 filters]; the number of blocks of channels is even. */
static void split_gradient_convert(const void *job_, int64_t item, void *scratch) {
    const split_job_t *job = job_;
    const pass_t p = pass_of(job);
    const int64_t blocks = 2 * split_channel_panels(job), group = item / (blocks + gradient_blocks(job));
    const int64_t block = item % (blocks + gradient_blocks(job));
    magnitude_t magnitude = NO_MAGNITUDE;
    if (block >= blocks) {
        convert_gradient(job, &p, &magnitude, group, block - blocks, scratch);
        tell_magnitude(&job->largest[1], &magnitude);
        return;
    }
    char *lines = job->lines + (group * blocks + block) * split_block_bytes(job);
    const int64_t used = job->image_sets * split_set_lines(job) * 64, piece_bytes = split_piece_bytes(job);
    if (block >= split_channel_blocks(job)) {
        memset(lines, 0, split_block_bytes(job));
        return;
    }
    split_source(job, &magnitude, group, block, block + 1, p.image, p.pixel, lines);
    for (int64_t piece = 0; piece < job->pieces; piece++)
        memset(lines + piece * piece_bytes + used, 0, piece_bytes - used);
    tell_magnitude(&job->largest[0], &magnitude);
}

/* Item: [group][panel of 32 filters][panel of 32 channels]. */
static void split_gradient_multiply(const void *job_, int64_t item, void *scratch) {
    const split_job_t *job = job_;
    const pass_t p = pass_of(job);
    const int64_t panels = split_channel_panels(job), taps = tap_count(split_shape(job));
    const int64_t group = item / panels / split_panels(job), filters = item / panels % split_panels(job);
    const int64_t block_bytes = split_block_bytes(job), channels = item % panels;
    gradient_tiles_t t = {.piece_bytes = split_piece_bytes(job), .goes_on = job->pass > 0, .tiles = scratch};
    t.count = job->image_sets * p.tiling.set_tiles;
    t.totals = job->totals + item * taps * 1024;
    for (int64_t half = 0; half < 2; half++)
        t.gradient[half] =
            job->gradient + (group * gradient_blocks(job) + 2 * filters + half) * split_gradient_bytes(job);
    int64_t *tiles = scratch;
    for (int64_t tile = 0; tile < t.count; tile++)
        tiles[tile] = split_tile_line(job, &p.tiling, p.pixels, tile, 16) * 64;
    begin_tiles();
    for (int64_t tap = 0; tap < taps; tap++, t.totals += 1024) {
        const char *lines = job->lines + (group * 2 * panels + 2 * channels) * block_bytes;
        t.lines[0] = lines + job->phases[0].tap_lines[tap] * 64;
        t.lines[1] = t.lines[0] + block_bytes;
        BY_PRODUCTS(job->products, multiply_gradient_by, &t);
    }
    end_tiles();
}

/* 16 channels of one filter, all taps, that lie in one run: 16 taps at a time are transposed. */
ALWAYS_INLINE void store_run(const element_t element, const float *totals, int64_t taps, int64_t channels, char *to) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    for (int64_t first = 0; first < taps; first += 16) {
        const int64_t count = min64(taps - first, 16);
        const char *rows[16];
        for (int64_t tap = 0; tap < 16; tap++)
            rows[tap] = (const char *)(totals + (first + min64(tap, count - 1)) * 1024);
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512i columns[4];
            if (4 * quarter >= channels) break;
            transpose_quarter(rows, quarter, columns);
            for (int64_t i = 0; i < 4 && 4 * quarter + i < channels; i++)
                store_elements(element, 0, to + ((4 * quarter + i) * taps + first) * bytes, first_lanes(count),
                               _mm512_castsi512_ps(columns[i]));
        }
    }
}

ALWAYS_INLINE void store_filter(const split_job_t *job, const element_t element, const float *totals, int64_t channels,
                                char *to) {
    const correlation_t *c = split_shape(job);
    const int64_t *stride = c->weight_stride, taps = tap_count(c), bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    if (taps > 1 && stride[1] == taps && taps_are_dense(c)) {
        store_run(element, totals, taps, channels, to);
        return;
    }
    int64_t places[16];
    for (int64_t i = 0; i < 16; i++) places[i] = i * stride[1];
    for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t td = tap / (c->taps[1] * c->taps[2]), th = tap / c->taps[2] % c->taps[1], tw = tap % c->taps[2];
        char *at = to + (td * stride[2] + th * stride[3] + tw * stride[4]) * bytes;
        const __m512 values = _mm512_load_ps(totals + tap * 1024);
        if (stride[1] == 1)
            store_elements(element, 0, at, first_lanes(channels), values);
        else
            store_apart(element, at, places, stride[1], channels, values);
    }
}

/* Item: [group][filter]: the totals of one filter to the weight. */
static void split_gradient_store(const void *job_, int64_t item, void *scratch) {
    const split_job_t *job = job_;
    const correlation_t *c = split_shape(job);
    const int64_t group = item / c->filters, filter = item % c->filters, panels = split_channel_panels(job);
    (void)scratch;
    for (int64_t channel = 0; channel < c->channels; channel += 16) {
        const int64_t panel = (group * split_panels(job) + filter / 32) * panels + channel / 32;
        const float *totals = job->totals + panel * tap_count(c) * 1024 + filter / 16 % 2 * 512 +
                              channel / 16 % 2 * 256 + filter % 16 * 16;
        const int64_t at =
            group * c->weight_group_stride + filter * c->weight_stride[0] + channel * c->weight_stride[1];
        char *to = c->weight + at * job->element_bytes;
        const int64_t channels = min64(c->channels - channel, 16);
        switch (job->element) {
        case ELEMENT_FLOAT32: store_filter(job, ELEMENT_FLOAT32, totals, channels, to); break;
        case ELEMENT_BFLOAT16: store_filter(job, ELEMENT_BFLOAT16, totals, channels, to); break;
        default: store_filter(job, ELEMENT_FLOAT16, totals, channels, to);
        }
    }
}
