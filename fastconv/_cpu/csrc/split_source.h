/* A block of the source as lines of bfloat16 pieces (split_job.h has the layout).
 *
 * Runs of pixels of one row are read along the row and turned, or, channels last, as they lie. Numerics:
 * split_pieces.h. Nothing outside of the array is read. */

typedef struct {
    const split_job_t *job;
    int64_t channels;    /* of this block, at most LINE_CHANNELS */
    int64_t line_step;   /* bytes from a pixel's line to the next one's */
    int64_t piece_bytes; /* from a line to its next piece */
    int64_t pixel_bytes; /* of the source: from a pixel to the next one read */
    magnitude_t magnitude;
} lines_t;

/* Up to 16 pixels; channels of one pixel are `channel_bytes` apart. */
ALWAYS_INLINE void turn_pixels(lines_t *l, const element_t element, const int64_t pieces, const char *from,
                               int64_t channel_bytes, int64_t pixel_stride, int64_t count, char *lines) {
    _Alignas(64) __m512i pairs[3][16];
    for (int64_t pair = 0; pair < 16; pair++) {
        const int64_t channel = 2 * pair;
        __m512 a = _mm512_setzero_ps(), b = a;
        if (channel < l->channels) a = load_apart(element, from + channel * channel_bytes, pixel_stride, count);
        if (channel + 1 < l->channels) b = load_apart(element, from + (channel + 1) * channel_bytes, pixel_stride, count);
        note_magnitude(&l->magnitude, a);
        note_magnitude(&l->magnitude, b);
        for (int64_t piece = 0; piece < pieces; piece++) pairs[piece][pair] = take_pieces(&a, &b);
    }
    for (int64_t piece = 0; piece < pieces; piece++) {
        const char *rows[16];
        for (int row = 0; row < 16; row++) rows[row] = (const char *)&pairs[piece][row];
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512i columns[4];
            if (4 * quarter >= count) break;
            turn_quarter(rows, quarter, columns);
            char *line = lines + piece * l->piece_bytes + 4 * quarter * l->line_step;
            for (int i = 0; i < 4 && 4 * quarter + i < count; i++)
                _mm512_store_si512(line + i * l->line_step, columns[i]);
        }
    }
}

/* One pixel whose channels are neighbours. */
ALWAYS_INLINE void split_pixel(lines_t *l, const element_t element, const int64_t pieces, const char *from, char *line) {
    const int64_t second = element == ELEMENT_FLOAT32 ? 64 : 32;
    __m512 a = load_elements(element, from, first_lanes(l->channels)), b = _mm512_setzero_ps();
    if (l->channels > 16) b = load_elements(element, from + second, first_lanes(l->channels - 16));
    note_magnitude(&l->magnitude, a);
    note_magnitude(&l->magnitude, b);
    for (int64_t piece = 0; piece < pieces; piece++) {
        const __m512i halves = take_pieces(&a, &b); /* pairs (a[i], b[i]): to [a ..., b ...] */
        const __m512i low = _mm512_and_si512(halves, _mm512_set1_epi32(0xffff)), high = _mm512_srli_epi32(halves, 16);
        const __m256i first = _mm512_cvtepi32_epi16(low), then = _mm512_cvtepi32_epi16(high);
        _mm512_store_si512(line + piece * l->piece_bytes, _mm512_inserti64x4(_mm512_castsi256_si512(first), then, 1));
    }
}

ALWAYS_INLINE void split_run_of(lines_t *l, const element_t element, const int64_t pieces, const char *from,
                                int64_t count, char *lines) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    const int64_t channel_bytes = split_shape(l->job)->source_stride[1] * bytes;
    if (channel_bytes == bytes) {
        for (int64_t i = 0; i < count; i++)
            split_pixel(l, element, pieces, from + i * l->pixel_bytes, lines + i * l->line_step);
        return;
    }
    for (int64_t i = 0; i < count; i += 16)
        turn_pixels(l, element, pieces, from + i * l->pixel_bytes, channel_bytes, l->pixel_bytes / bytes,
                    min64(count - i, 16), lines + i * l->line_step);
}

/* `count` pixels of one row. */
static void split_run(lines_t *l, const char *from, int64_t count, char *lines) {
    const int64_t pieces = l->job->pieces;
    switch (l->job->element) {
    case ELEMENT_BFLOAT16: split_run_of(l, ELEMENT_BFLOAT16, 1, from, count, lines); break;
    case ELEMENT_FLOAT16: split_run_of(l, ELEMENT_FLOAT16, pieces, from, count, lines); break;
    default:
        if (pieces == 1)
            split_run_of(l, ELEMENT_FLOAT32, 1, from, count, lines);
        else if (pieces == 2)
            split_run_of(l, ELEMENT_FLOAT32, 2, from, count, lines);
        else
            split_run_of(l, ELEMENT_FLOAT32, 3, from, count, lines);
    }
}

static void clear_lines(const lines_t *l, char *lines, int64_t count) {
    for (int64_t piece = 0; piece < l->job->pieces; piece++)
        for (int64_t i = 0; i < count; i++)
            _mm512_store_si512(lines + piece * l->piece_bytes + i * l->line_step, _mm512_setzero_si512());
}

/* Slots of one row of one phase: source indices from `index` on, a step apart. */
static void split_row(lines_t *l, const char *row, int64_t index, int64_t step, int64_t slots, char *lines) {
    const int64_t size = split_shape(l->job)->source_size[2];
    const int64_t before = index >= 0 ? 0 : min64(div_up(-index, step), slots);
    const int64_t end = index >= size ? before : max64(min64(div_up(size - index, step), slots), before);
    clear_lines(l, lines, before);
    if (end > before)
        split_run(l, row + (index + before * step) * (l->pixel_bytes / step), end - before, lines + before * l->line_step);
    clear_lines(l, lines + end * l->line_step, slots - end);
}

static int64_t residue_of(const split_axis_t *axis, int64_t phase) { return phase * axis->delta % axis->step; }

/* One block of channels of one image: all phases of all axes. `pixel`: the first one of the item's block. */
static void split_image(lines_t *l, const char *source, const int64_t pixel[3], char *lines) {
    const split_job_t *job = l->job;
    const correlation_t *c = split_shape(job);
    const split_axis_t *axis = job->axis;
    int64_t first[3], line = 0;
    for (int a = 0; a < 3; a++) first[a] = pixel[a] * axis[a].step + axis[a].origin;
    l->pixel_bytes = c->source_stride[4] * axis[2].step * job->element_bytes;
    for (int64_t pd = 0; pd < axis[0].phases; pd++)
        for (int64_t ph = 0; ph < axis[1].phases; ph++)
            for (int64_t pw = 0; pw < axis[2].phases; pw++)
                for (int64_t d = 0; d < split_slots(job, 0); d++)
                    for (int64_t h = 0; h < split_slots(job, 1); h++, line += split_slots(job, 2)) {
                        const int64_t at_d = first[0] + residue_of(&axis[0], pd) + d * axis[0].step;
                        const int64_t at_h = first[1] + residue_of(&axis[1], ph) + h * axis[1].step;
                        char *row = lines + line * l->line_step;
                        if (at_d < 0 || at_d >= c->source_size[0] || at_h < 0 || at_h >= c->source_size[1]) {
                            clear_lines(l, row, split_slots(job, 2));
                            continue;
                        }
                        const int64_t offset = at_d * c->source_stride[2] + at_h * c->source_stride[3];
                        split_row(l, source + offset * job->element_bytes, first[2] + residue_of(&axis[2], pw),
                                  axis[2].step, split_slots(job, 2), row);
                    }
}

/* Blocks of channels `first` to `last` of the item's images, from image number `image` on. */
static void split_source(const split_job_t *job, int64_t group, int64_t image, const int64_t pixel[3], int64_t first,
                         int64_t last, char *lines) {
    const correlation_t *c = split_shape(job);
    lines_t l = {.job = job, .line_step = job->images * 64, .magnitude = {_mm512_setzero_si512()}};
    l.piece_bytes = split_piece_bytes(job, TILE_LINES);
    for (int64_t set = 0; set < job->image_sets; set++)
        for (int64_t block = first; block < last; block++)
            for (int64_t n = 0; n < job->images && image + n < c->batch; n++) {
                const int64_t channel = block * LINE_CHANNELS, number = image + set * job->images + n;
                if (number >= c->batch) break;
                l.channels = min64(c->channels - channel, LINE_CHANNELS);
                const int64_t at = number * c->source_stride[0] +
                                   (group * c->channels + channel) * c->source_stride[1];
                split_image(&l, c->source + at * job->element_bytes, pixel,
                            lines + (block - first) * split_block_bytes(job, TILE_LINES) +
                                (set * split_set_lines(job) + n) * 64);
            }
    tell_magnitude(&job->largest[0], &l.magnitude);
}
