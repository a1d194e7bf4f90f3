/* Reads lines of a correlation's source straight from the user's array, zeros outside of it.
 *
 * A pixel line runs along the pixels (n, d, h, w flattened, w fastest) at one channel and tap; a channel line runs
 * along (tap, channel), channel fastest, at one pixel. Nothing outside the array is read. */
static inline void NAMED(copy_line)(REAL *target, const REAL *source, int64_t stride, int64_t count) {
    int64_t i = 0;
    if (stride == 1) {
        for (; i + LANES <= count; i += LANES)
            *(NAMED(unaligned) *)(target + i) = *(const NAMED(unaligned) *)(source + i);
        for (; i < count; i++) target[i] = source[i];
    } else {
        for (; i < count; i++) target[i] = source[i * stride];
    }
}

static inline void NAMED(zero_line)(REAL *target, int64_t count) {
    for (int64_t i = 0; i < count; i++) target[i] = 0;
}

/* (n, d, h, w) of a flat pixel number. */
static inline void NAMED(split_pixel)(const correlation_t *c, int64_t pixel, int64_t *n, int64_t *position) {
    for (int axis = 2; axis >= 0; axis--) {
        position[axis] = pixel % c->pixels[axis];
        pixel /= c->pixels[axis];
    }
    *n = pixel;
}

/* Steps (n, d, h) to the next row of pixels. */
static inline void NAMED(next_row)(const correlation_t *c, int64_t *n, int64_t *position) {
    position[2] = 0;
    if (++position[1] < c->pixels[1]) return;
    position[1] = 0;
    if (++position[0] < c->pixels[0]) return;
    position[0] = 0;
    ++*n;
}

/* `count` pixels from number `pixel` on of one channel (over all groups) at one tap. */
static void NAMED(gather_pixels)(const correlation_t *c, int64_t channel, const int64_t *tap, int64_t pixel,
                                 int64_t count, REAL *line) {
    const REAL *base = (const REAL *)c->source + channel * c->source_stride[1];
    const int64_t step = c->step[2], width = c->source_size[2];
    int64_t n, position[3];
    NAMED(split_pixel)(c, pixel, &n, position);
    while (count > 0) {
        int64_t run = min64(c->pixels[2] - position[2], count);
        int64_t d = position[0] * c->step[0] + c->first[0] + tap[0] * c->delta[0];
        int64_t h = position[1] * c->step[1] + c->first[1] + tap[1] * c->delta[1];
        int64_t w = position[2] * step + c->first[2] + tap[2] * c->delta[2];
        int64_t begin = run, end = run; /* the part of the run that lies inside the array */
        if (d >= 0 && d < c->source_size[0] && h >= 0 && h < c->source_size[1]) {
            begin = w >= 0 ? 0 : min64(step == 1 ? -w : div_up(-w, step), run);
            end = w >= width ? begin : min64(step == 1 ? width - w : div_up(width - w, step), run);
            if (end < begin) end = begin;
            NAMED(copy_line)(line + begin,
                             base + n * c->source_stride[0] + d * c->source_stride[2] + h * c->source_stride[3] +
                                 (w + begin * step) * c->source_stride[4],
                             step * c->source_stride[4], end - begin);
        }
        NAMED(zero_line)(line, begin);
        NAMED(zero_line)(line + end, run - end);
        line += run;
        count -= run;
        NAMED(next_row)(c, &n, position);
    }
}

/* Entries [first, first + count) of the (tap, channel) line of one pixel in one group. */
static void NAMED(gather_channels)(const correlation_t *c, int64_t group, int64_t n, const int64_t *position,
                                   int64_t first, int64_t count, REAL *line) {
    const REAL *base = (const REAL *)c->source + n * c->source_stride[0] + group * c->channels * c->source_stride[1];
    int64_t tap = first / c->channels, channel = first % c->channels;
    while (count > 0) {
        int64_t run = min64(c->channels - channel, count), inside = 1, offset = 0, rest = tap;
        for (int axis = 2; axis >= 0; axis--) {
            int64_t index = position[axis] * c->step[axis] + c->first[axis] + rest % c->taps[axis] * c->delta[axis];
            rest /= c->taps[axis];
            inside &= index >= 0 && index < c->source_size[axis];
            offset += index * c->source_stride[2 + axis];
        }
        if (inside)
            NAMED(copy_line)(line, base + offset + channel * c->source_stride[1], c->source_stride[1], run);
        else
            NAMED(zero_line)(line, run);
        line += run;
        count -= run;
        channel = 0;
        tap++;
    }
}
