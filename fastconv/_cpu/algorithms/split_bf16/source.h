/* A block of the source as lines of bfloat16 pieces (job.h has the layout).
 *
 * Runs of pixels of one row are read along the row and transposed, or, channels last, as they lie. Numerics:
 * pieces.h. Nothing outside of the array is read. */

typedef struct {
    const split_job_t *job;
    int64_t channels;      /* of these blocks */
    int64_t line_step;     /* bytes from a pixel's line to the next one's */
    int64_t piece_bytes;   /* from a line to its next piece */
    int64_t block_bytes;   /* and to the same of the next block of channels */
    int64_t pixel_bytes;   /* of the source: from a pixel to the next one read */
    int64_t channel_bytes; /* and from a channel to the next one */
    magnitude_t magnitude;
} lines_t;

/* Bytes before they are read that elements are asked for. */
#define SOURCE_AHEAD 256

/* Where the two numbers of a pair begin in the source: of neighbouring channels, or of the two images; NULL: zeros. */
typedef struct {
    const char *first, *second;
} pair_t;

ALWAYS_INLINE pair_t next_pixels(const lines_t *l, pair_t from, int64_t count) {
    if (from.first != NULL) from.first += count * l->pixel_bytes;
    if (from.second != NULL) from.second += count * l->pixel_bytes;
    return from;
}

/* One pair of channels or images of up to 16 pixels, as pieces. */
ALWAYS_INLINE void load_pair(lines_t *l, const element_t element, const int64_t pieces, const char *first,
                             const char *second, int64_t pixel_stride, int64_t count, __m512i *to) {
    if (first != NULL) __builtin_prefetch(first + SOURCE_AHEAD);
    if (second != NULL) __builtin_prefetch(second + SOURCE_AHEAD);
    if (element == ELEMENT_BFLOAT16 && pixel_stride == 1) {
        __m512i pair = _mm512_setzero_si512();
        if (first != NULL) pair = load_halves(first, count);
        if (second != NULL) pair = _mm512_or_si512(pair, _mm512_slli_epi32(load_halves(second, count), 16));
        note_pairs(&l->magnitude, pair);
        *to = pair;
        return;
    }
    __m512 a = _mm512_setzero_ps(), b = a;
    if (first != NULL) a = load_apart(element, first, pixel_stride, count);
    if (second != NULL) b = load_apart(element, second, pixel_stride, count);
    note_magnitude(&l->magnitude, a);
    note_magnitude(&l->magnitude, b);
    for (int64_t piece = 0; piece < pieces; piece++) to[piece * 16] = take_pieces(&a, &b);
}

/* Up to 16 pixels. */
ALWAYS_INLINE void transpose_pixels(lines_t *l, const element_t element, const int64_t pieces, const int is_paired,
                                    pair_t from, int64_t pixel_stride, int64_t count, char *lines) {
    _Alignas(64) __m512i pairs[3][16];
    const int64_t step = (is_paired ? 1 : 2) * l->channel_bytes;
    for (int64_t pair = 0; pair < 16; pair++) {
        const int is_there = (is_paired ? pair : 2 * pair) < l->channels;
        const int is_second_there = (is_paired ? pair : 2 * pair + 1) < l->channels;
        load_pair(l, element, pieces, is_there && from.first != NULL ? from.first + pair * step : NULL,
                  is_second_there && from.second != NULL ? from.second + pair * step : NULL, pixel_stride, count,
                  &pairs[0][pair]);
    }
    for (int64_t piece = 0; piece < pieces; piece++) {
        const char *rows[16];
        for (int row = 0; row < 16; row++) rows[row] = (const char *)&pairs[piece][row];
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512i columns[4];
            if (4 * quarter >= count) break;
            transpose_quarter(rows, quarter, columns);
            char *line = lines + piece * l->piece_bytes + 4 * quarter * l->line_step;
            for (int i = 0; i < 4 && 4 * quarter + i < count; i++)
                _mm512_store_si512(line + i * l->line_step, columns[i]);
        }
    }
}

/* One block of one pixel whose channels are neighbours. */
ALWAYS_INLINE void split_pixel(lines_t *l, const element_t element, const int64_t pieces, const int is_paired,
                               pair_t from, int64_t channels, char *line) {
    const int64_t vector_bytes = element == ELEMENT_FLOAT32 ? 64 : 32;
    if (element == ELEMENT_BFLOAT16 && !is_paired) {
        const __mmask32 mask = channels >= 32 ? 0xffffffff : (1u << channels) - 1;
        const __m512i halves = _mm512_maskz_loadu_epi16(mask, from.first);
        note_pairs(&l->magnitude, halves);
        _mm512_store_si512(line, halves);
        return;
    }
    __m512 a = _mm512_setzero_ps(), b = a;
    if (from.first != NULL) a = load_elements(element, from.first, first_lanes(channels));
    if (is_paired && from.second != NULL) b = load_elements(element, from.second, first_lanes(channels));
    if (!is_paired && channels > 16) b = load_elements(element, from.first + vector_bytes, first_lanes(channels - 16));
    note_magnitude(&l->magnitude, a);
    note_magnitude(&l->magnitude, b);
    for (int64_t piece = 0; piece < pieces; piece++) {
        __m512i line_of_piece = take_pieces(&a, &b);
        if (!is_paired) { /* pairs (a[i], b[i]) to [a ..., b ...] */
            const __m256i low = _mm512_cvtepi32_epi16(line_of_piece);
            const __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(line_of_piece, 16));
            line_of_piece = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        }
        _mm512_store_si512(line + piece * l->piece_bytes, line_of_piece);
    }
}

ALWAYS_INLINE void split_run_of(lines_t *l, const element_t element, const int64_t pieces, const int is_paired,
                                pair_t from, int64_t count, char *lines) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2, width = split_line_channels(l->job);
    if (l->channel_bytes != bytes) {
        for (int64_t i = 0; i < count; i += 16)
            transpose_pixels(l, element, pieces, is_paired, next_pixels(l, from, i), l->pixel_bytes / bytes,
                             min64(count - i, 16), lines + i * l->line_step);
        return;
    }
    for (int64_t i = 0; i < count; i++, from = next_pixels(l, from, 1)) {
        pair_t block = from;
        char *line = lines + i * l->line_step;
        for (int64_t channel = 0; channel < l->channels; channel += width, line += l->block_bytes) {
            split_pixel(l, element, pieces, is_paired, block, min64(l->channels - channel, width), line);
            if (block.first != NULL) block.first += width * bytes;
            if (block.second != NULL) block.second += width * bytes;
        }
    }
}

/* `count` pixels of one row. */
static void split_run(lines_t *l, pair_t from, int64_t count, char *lines) {
#define RUN_OF(element, pieces)                                                                                        \
    if (l->job->is_paired)                                                                                             \
        split_run_of(l, element, pieces, 1, from, count, lines);                                                       \
    else                                                                                                               \
        split_run_of(l, element, pieces, 0, from, count, lines);
    switch (l->job->element) {
    case ELEMENT_BFLOAT16: RUN_OF(ELEMENT_BFLOAT16, 1) break;
    case ELEMENT_FLOAT16: RUN_OF(ELEMENT_FLOAT16, 2) break;
    default:
        switch (l->job->pieces) {
        case 1: RUN_OF(ELEMENT_FLOAT32, 1) break;
        case 2: RUN_OF(ELEMENT_FLOAT32, 2) break;
        default: RUN_OF(ELEMENT_FLOAT32, 3)
        }
    }
#undef RUN_OF
}

static void clear_lines(const lines_t *l, char *lines, int64_t count) {
    for (int64_t channel = 0; channel < l->channels; channel += split_line_channels(l->job), lines += l->block_bytes)
        for (int64_t piece = 0; piece < l->job->pieces; piece++)
            for (int64_t i = 0; i < count; i++)
                _mm512_store_si512(lines + piece * l->piece_bytes + i * l->line_step, _mm512_setzero_si512());
}

/* Slots of one row of one phase: source indices from `index` on, a step apart. */
static void split_row(lines_t *l, pair_t row, int64_t index, int64_t step, int64_t slots, char *lines) {
    const int64_t size = split_shape(l->job)->source_size[2];
    const int64_t before = index >= 0 ? 0 : min64(div_up(-index, step), slots);
    int64_t end = index >= size ? before : max64(min64(div_up(size - index, step), slots), before);
    if (row.first == NULL && row.second == NULL) end = before;
    clear_lines(l, lines, before);
    if (end > before) {
        const int64_t skipped = (index + before * step) * (l->pixel_bytes / step);
        if (row.first != NULL) row.first += skipped;
        if (row.second != NULL) row.second += skipped;
        split_run(l, row, end - before, lines + before * l->line_step);
    }
    clear_lines(l, lines + end * l->line_step, slots - end);
}

/* An image, or the part of one from pixel `first` on. NULL: none. */
typedef struct {
    const char *source;
    int64_t first[3];
} part_t;

static int64_t residue_of(const split_axis_t *axis, int64_t phase) { return phase * axis->delta % axis->step; }

/* The row of a part that slot (d, h) of these phases holds; NULL outside of the array. */
static const char *slot_row(const split_job_t *job, const part_t *part, const int64_t phase[2], int64_t d, int64_t h) {
    const correlation_t *c = split_shape(job);
    const split_axis_t *axis = job->axis;
    if (part->source == NULL) return NULL;
    const int64_t at_d = (part->first[0] + d) * axis[0].step + axis[0].origin + residue_of(&axis[0], phase[0]);
    const int64_t at_h = (part->first[1] + h) * axis[1].step + axis[1].origin + residue_of(&axis[1], phase[1]);
    if (at_d < 0 || at_d >= c->source_size[0] || at_h < 0 || at_h >= c->source_size[1]) return NULL;
    return part->source + (at_d * c->source_stride[2] + at_h * c->source_stride[3]) * job->element_bytes;
}

/* One block of channels of one image or pair: all phases of all axes. */
static void split_parts(lines_t *l, const part_t *a, const part_t *b, char *lines) {
    const split_job_t *job = l->job;
    const split_axis_t *axis = job->axis;
    const int64_t slots = split_slots(job, 2), shared = axis[2].shared;
    int64_t phase[2];
    for (phase[0] = 0; phase[0] < axis[0].phases; phase[0]++)
        for (phase[1] = 0; phase[1] < axis[1].phases; phase[1]++)
            for (int64_t pw = 0; pw < axis[2].phases; pw++) {
                const int64_t index = a->first[2] * axis[2].step + axis[2].origin + residue_of(&axis[2], pw);
                for (int64_t d = 0; d < split_slots(job, 0); d++)
                    for (int64_t h = 0; h < split_slots(job, 1); h++, lines += slots * l->line_step) {
                        pair_t row = {slot_row(job, a, phase, d, h), slot_row(job, b, phase, d, h)};
                        if (!job->is_paired && row.second != NULL) row.second += l->channel_bytes;
                        split_row(l, row, index, axis[2].step, slots, lines);
                    }
                clear_lines(l, lines, shared);
                lines += shared * l->line_step;
            }
}

/* The image or half of number `number`, as it lies in the source from channel 0 on. */
static part_t part_of(const split_job_t *job, int64_t number, const int64_t pixel[3]) {
    const correlation_t *c = split_shape(job);
    const int64_t halves = split_is_halved(job) ? 2 : 1, image = number / halves;
    part_t part = {.first = {pixel[0], pixel[1], pixel[2]}};
    for (int axis = 0; axis < 2; axis++) part.first[axis] += number % halves * job->part_pixels[axis];
    if (image < c->batch) part.source = c->source + image * c->source_stride[0] * job->element_bytes;
    return part;
}

/* `channels` from number `channel` on, a block or, channels last, some, of all images of an item from number `image`
 * on, or of all pairs. */
static void split_images_of(const split_job_t *job, magnitude_t *magnitude, int64_t group, int64_t channel,
                            int64_t channels, int64_t image, const int64_t pixel[3], char *lines) {
    const correlation_t *c = split_shape(job);
    const int64_t offset = (group * c->channels + channel) * c->source_stride[1] * job->element_bytes;
    lines_t l = {.job = job, .line_step = job->images * 64, .magnitude = *magnitude, .channels = channels};
    l.piece_bytes = split_piece_bytes(job);
    l.block_bytes = split_block_bytes(job);
    l.pixel_bytes = c->source_stride[4] * job->axis[2].step * job->element_bytes;
    l.channel_bytes = c->source_stride[1] * job->element_bytes;
    for (int64_t set = 0; set < job->image_sets; set++)
        for (int64_t n = 0; n < job->images; n++) {
            const int64_t number = image + set * job->images + n;
            part_t a = part_of(job, job->is_paired ? 2 * number : number, pixel), b = a;
            if (job->is_paired) b = part_of(job, 2 * number + 1, pixel);
            if (a.source != NULL) a.source += offset;
            if (b.source != NULL) b.source += offset;
            if (a.source == NULL && !job->is_paired) continue; /* what is computed of these lines is dropped */
            split_parts(&l, &a, &b, lines + (set * split_set_lines(job) + n) * 64);
        }
    *magnitude = l.magnitude;
}

/* Blocks of channels `first` to `last`. */
static void split_source(const split_job_t *job, magnitude_t *magnitude, int64_t group, int64_t first, int64_t last,
                         int64_t image, const int64_t pixel[3], char *lines) {
    const correlation_t *c = split_shape(job);
    const int64_t width = split_line_channels(job), end = min64(last * width, c->channels);
    const int64_t at_once = c->source_stride[1] == 1 ? end - first * width : width;
    for (int64_t channel = first * width; channel < end; channel += at_once, lines += split_block_bytes(job))
        split_images_of(job, magnitude, group, channel, min64(at_once, end - channel), image, pixel, lines);
}
