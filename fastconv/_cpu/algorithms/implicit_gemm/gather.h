/* Reads parts of the user's arrays: a correlation's source into a band, zeros outside of the array, and the output
 * gradient into column panels. Nothing outside an array is read. */
/* `count` pixels, `step` apart, of `channels` neighbouring channels into slots of `slot` elements. */
ALWAYS_INLINE void NAMED(copy_pixels_of)(const int channels, REAL *target, int64_t slot, const REAL *source,
                                         int64_t step, int64_t count) {
    for (int64_t i = 0; i < count; i++, target += slot, source += step)
#pragma GCC unroll 4
        for (int j = 0; j < channels; j++) target[j] = source[j];
}

static void NAMED(copy_pixels)(REAL *target, int64_t slot, const REAL *source, int64_t step, int64_t channel_step,
                               int64_t channels, int64_t count) {
    if (channel_step == 1 && step == channels && slot == channels) {
        NAMED(copy_line)(target, source, 1, count * channels);
        return;
    }
    switch (channel_step == 1 ? channels : 0) {
    case 1: NAMED(copy_pixels_of)(1, target, slot, source, step, count); break;
    case 2: NAMED(copy_pixels_of)(2, target, slot, source, step, count); break;
    case 3: NAMED(copy_pixels_of)(3, target, slot, source, step, count); break;
    case 4: NAMED(copy_pixels_of)(4, target, slot, source, step, count); break;
    default:
        for (int64_t i = 0; i < count; i++, source += step) {
            /* Parts of pixels do not follow one another: no prefetcher finds the next. */
            for (int64_t j = 0; channel_step == 1 && step > channels && j < channels; j += 64 / REAL_BYTES)
                __builtin_prefetch(source + step + j, 0, 2);
            NAMED(copy_line)(target + i * slot, source, channel_step, channels);
        }
    }
}

/* What may be read of a correlation's source. */
static NAMED(room_t) NAMED(source_room)(const correlation_t *c) {
    const int64_t size[5] = {c->batch, c->groups * c->channels, c->source_size[0], c->source_size[1],
                             c->source_size[2]};
    const REAL *low = (const REAL *)c->source, *high = low + 1;
    for (int axis = 0; axis < 5; axis++) {
        const int64_t extent = (size[axis] - 1) * c->source_stride[axis];
        low += min64(extent, 0);
        high += max64(extent, 0);
    }
    return (NAMED(room_t)){(uintptr_t)low, (uintptr_t)high};
}

/* Rows of at most a vector for many channels: slots [begin, end) of `pitch` are elements `step` apart from `inside` on,
 * the others zeros. Returns 0 where two vectors do not hold these elements, or there is no room to load them. */
static int NAMED(fill_short_rows)(const REAL *inside, int64_t step, int64_t channel_step, int64_t begin, int64_t end,
                                  int64_t channels, NAMED(room_t) room, int64_t pitch, int64_t channel_stride,
                                  REAL *row) {
    const int64_t last = (channels - 1) * channel_step, reach = (end - begin - 1) * step;
    const int64_t second = reach < LANES ? 0 : LANES; /* the other vector */
    NAMED(lane_index) which = {0}, mask = {0}, last_part = {0};
    if (pitch > LANES) return 0;
    if (end > begin && (step < 0 || reach >= 2 * LANES || (uintptr_t)(inside + min64(last, 0)) < room.low ||
                        (uintptr_t)(inside + max64(last, 0) + second + LANES) > room.high))
        return 0;
    for (int i = 0; i < LANES; i++) {
        which[i] = i > begin && i < end ? (i - begin) * step : 0;
        mask[i] = i >= begin && i < end ? -1 : 0;
        last_part[i] = (i + pitch - NAMED(store_part)(pitch)) % LANES;
    }
    for (int64_t i = 0; i < channels; i++, row += channel_stride, inside += channel_step) {
        NAMED(lane_index) value = {0};
        if (end > begin) {
            /* The next channels' rows lie far away, where no prefetcher looks. */
            __builtin_prefetch(inside + 4 * channel_step, 0, 2);
            if (second > 0) __builtin_prefetch(inside + 4 * channel_step + reach, 0, 2);
            value = (NAMED(lane_index))NAMED(shuffle)(NAMED(load)(inside), NAMED(load)(inside + second), which) & mask;
        }
        NAMED(store_some)(row, (NAMED(vector))value, pitch, last_part);
    }
    return 1;
}

/* One row of slots of all channels of the band: `source` is the row at channel 0, read where it `is_inside` the array.
 */
static void NAMED(fill_row)(const correlation_t *c, const band_t *b, int64_t channels, const REAL *source,
                            int is_inside, NAMED(room_t) room, REAL *row) {
    const band_axis_t *axis = &b->axis[2];
    const int64_t step = c->step[2] * c->source_stride[4], channel_step = c->source_stride[1];
    for (int64_t major = 0; major < axis->majors; major++, row += axis->pitch * b->stride[2]) {
        const int64_t first = b->box.column_first * c->step[2] + axis->origin + major * axis->major_step;
        int64_t begin = axis->pitch, end = axis->pitch;
        if (is_inside) NAMED(clip)(first, c->step[2], axis->pitch, c->source_size[2], &begin, &end);
        const REAL *inside = source + (first + begin * c->step[2]) * c->source_stride[4];
        if (b->channel_stride == 1) { /* interleaved */
            NAMED(zero_line)(row, begin * b->stride[2]);
            NAMED(copy_pixels)(row + begin * b->stride[2], b->stride[2], inside, step, channel_step, channels,
                               end - begin);
            NAMED(zero_line)(row + end * b->stride[2], (axis->pitch - end) * b->stride[2]);
        } else if (!NAMED(fill_short_rows)(inside, step, channel_step, begin, end, channels, room, axis->pitch,
                                           b->channel_stride, row)) {
            /* Short borders are zeroed as whole vectors, which the copy then overwrites. */
            const int64_t after = axis->pitch - end;
            const int is_narrow = axis->pitch >= LANES && begin <= LANES && after <= LANES;
            REAL *line = row;
            for (int64_t i = 0; i < channels; i++, line += b->channel_stride, inside += channel_step) {
                /* The next channel's row lies far away, where no prefetcher looks. */
                for (int64_t j = 0; step <= 4 && j < (end - begin) * step; j += 64 / REAL_BYTES)
                    __builtin_prefetch(inside + channel_step + j, 0, 2);
                if (is_narrow) {
                    if (begin > 0) *(NAMED(unaligned) *)line = (NAMED(vector)){0};
                    if (after > 0) *(NAMED(unaligned) *)(line + axis->pitch - LANES) = (NAMED(vector)){0};
                } else {
                    NAMED(zero_line)(line, begin);
                    NAMED(zero_line)(line + end, after);
                }
                NAMED(copy_line)(line + begin, inside, step, end - begin);
            }
        }
    }
}

/* The band of `channels` channels from number `channel` (over all groups) on. */
static void NAMED(fill_band)(const correlation_t *c, const band_t *b, int64_t channel, int64_t channels, REAL *band) {
    const band_axis_t *depth = &b->axis[0], *height = &b->axis[1];
    const NAMED(room_t) room = NAMED(source_room)(c);
    for (int64_t segment = 0; segment < b->box.segments; segment++) {
        const int64_t plane = b->box.plane_first + segment, n = plane / c->pixels[0], d = plane % c->pixels[0];
        const int64_t row_first = segment == 0 ? b->box.row_first : 0;
        /* The last rows of a segment shorter than the longest are never looked at. */
        const int64_t unused = max64(row_first + b->box.rows - c->pixels[1], 0);
        const REAL *image = (const REAL *)c->source + n * c->source_stride[0] + channel * c->source_stride[1];
        for (int64_t slab = 0; slab < depth->majors * depth->pitch; slab++) {
            const int64_t source_d = d * c->step[0] + depth->origin + slab / depth->pitch * depth->major_step +
                                     slab % depth->pitch * c->step[0];
            for (int64_t slot = 0; slot < height->majors * height->pitch; slot++) {
                if (slot % height->pitch >= height->pitch - unused) continue;
                const int64_t source_h = row_first * c->step[1] + height->origin +
                                         slot / height->pitch * height->major_step + slot % height->pitch * c->step[1];
                const int is_inside =
                    source_d >= 0 && source_d < c->source_size[0] && source_h >= 0 && source_h < c->source_size[1];
                const REAL *row = image + source_d * c->source_stride[2] + source_h * c->source_stride[3];
                NAMED(fill_row)(c, b, channels, row, is_inside, room,
                                band + segment * b->segment_stride + slab * b->stride[0] + slot * b->stride[1]);
            }
        }
    }
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

/* Offsets of pixels [pixel, pixel + count) in an array of the result's shape, without its channel. */
static void NAMED(result_offsets)(const correlation_t *c, const int64_t *stride, int64_t pixel, int64_t count,
                                  int64_t *offset) {
    int64_t n, position[3];
    NAMED(split_pixel)(c, pixel, &n, position);
    for (int64_t i = 0; i < count; NAMED(next_row)(c, &n, position)) {
        const int64_t row = n * stride[0] + position[0] * stride[2] + position[1] * stride[3];
        for (; i < count && position[2] < c->pixels[2]; position[2]++) offset[i++] = row + position[2] * stride[4];
    }
}
