/* Weights as panels of 32 filters of bfloat16 pieces (job.h has the layout), zeros where there is no filter or
 * channel. Any strides; filters that lie far apart, with the taps of their channels in one run each, are transposed. */

/* One pair of channels of one tap: 16 filters into each piece. */
ALWAYS_INLINE void put_pair(const split_job_t *job, magnitude_t *magnitude, __m512 a, __m512 b, char *to) {
    note_magnitude(magnitude, a);
    note_magnitude(magnitude, b);
    for (int64_t piece = 0; piece < job->pieces; piece++)
        _mm512_store_si512(to + piece * (PANEL_FILTERS * LINE_CHANNELS * 2), take_pieces(&a, &b));
}

/* `count` runs of `run` neighbouring elements, `apart` bytes from each other, as float [element][16]; zeros for the
 * runs that are not there. */
static void transpose_runs(const element_t element, const char *from, int64_t apart, int64_t count, int64_t run,
                           float *to) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    for (int64_t first = 0; first < run; first += 16) {
        _Alignas(64) __m512 values[16];
        const char *rows[16];
        for (int64_t row = 0; row < 16; row++) {
            values[row] = _mm512_setzero_ps();
            if (row < count)
                values[row] = load_elements(element, from + row * apart + first * bytes, first_lanes(run - first));
            rows[row] = (const char *)&values[row];
        }
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512i columns[4];
            transpose_quarter(rows, quarter, columns);
            for (int i = 0; i < 4; i++)
                if (first + 4 * quarter + i < run) _mm512_storeu_si512(to + (first + 4 * quarter + i) * 16, columns[i]);
        }
    }
}

#define MAX_TRANSPOSED_TAPS 32

/* One block of channels for 16 filters. `weight`: the first filter's first channel; `to`: the first tap's first pair.
 */
static void pack_block(const split_job_t *job, const correlation_t *c, magnitude_t *magnitude, const char *weight,
                       int64_t filters, int64_t channels, char *to) {
    const int64_t taps = tap_count(c), bytes = job->element_bytes, tap_bytes = job->pieces * 2048;
    const int64_t *stride = c->weight_stride;
    if (taps_are_dense(c) && stride[1] == taps && stride[0] != 1 && taps <= MAX_TRANSPOSED_TAPS) {
        _Alignas(64) float transposed[LINE_CHANNELS * MAX_TRANSPOSED_TAPS * 16];
        transpose_runs(job->element, weight, stride[0] * bytes, filters, channels * taps, transposed);
        for (int64_t pair = 0; pair < 16; pair++)
            for (int64_t tap = 0; tap < taps; tap++) {
                const float *at = transposed + (2 * pair * taps + tap) * 16;
                const __m512 none = _mm512_setzero_ps();
                put_pair(job, magnitude, 2 * pair < channels ? _mm512_load_ps(at) : none,
                         2 * pair + 1 < channels ? _mm512_load_ps(at + taps * 16) : none,
                         to + tap * tap_bytes + pair * 64);
            }
        return;
    }
    for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t td = tap / (c->taps[1] * c->taps[2]), th = tap / c->taps[2] % c->taps[1], tw = tap % c->taps[2];
        const char *at = weight + (td * stride[2] + th * stride[3] + tw * stride[4]) * bytes;
        for (int64_t pair = 0; pair < 16; pair++) {
            __m512 a = _mm512_setzero_ps(), b = a;
            if (2 * pair < channels)
                a = load_apart(job->element, at + 2 * pair * stride[1] * bytes, stride[0], filters);
            if (2 * pair + 1 < channels)
                b = load_apart(job->element, at + (2 * pair + 1) * stride[1] * bytes, stride[0], filters);
            put_pair(job, magnitude, a, b, to + tap * tap_bytes + pair * 64);
        }
    }
}

/* Item: one panel of one group, in all phases. */
static void split_pack_weight(const void *job_, int64_t item, void *scratch) {
    const split_job_t *job = job_;
    const int64_t panels = split_panels(job), group = item / panels, filter = item % panels * PANEL_FILTERS;
    magnitude_t magnitude = NO_MAGNITUDE;
    (void)scratch;
    for (int64_t number = 0; number < job->phase_count; number++) {
        const correlation_t *c = &job->phases[number].correlation;
        char *to = job->phases[number].packed + item * split_packed_panel_bytes(job, c);
        const char *weight = c->weight + group * c->weight_group_stride * job->element_bytes;
        for (int64_t channel = 0; channel < c->channels; channel += LINE_CHANNELS)
            for (int64_t half = 0; half < 2; half++) {
                const int64_t first = filter + half * 16, filters = max64(min64(c->filters - first, 16), 0);
                const int64_t at = first * c->weight_stride[0] + channel * c->weight_stride[1];
                pack_block(job, c, &magnitude, weight + at * job->element_bytes, filters,
                           min64(c->channels - channel, LINE_CHANNELS),
                           to + channel / LINE_CHANNELS * tap_count(c) * job->pieces * 2048 + half * 1024);
            }
    }
    tell_magnitude(&job->largest[1], &magnitude);
}
