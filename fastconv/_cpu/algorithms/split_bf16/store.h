/* Sums of tiles to the result: up to 16 pixels by 32 filters at a time, epilogue included.
 *
 * Layout. Sums are float [half of a panel][line][16 filters]; lines are kept modulo `kept_lines`, so that they stay in
 * a first-level cache. A unit is 16 pixels of one image that follow one another in the item's block. Where filters are
 * neighbours in the result (channels last) each pixel is stored as it is, else the unit is transposed. Numerics:
 * float32; narrower results are rounded once, to nearest, ties to even. */

typedef struct {
    const split_job_t *job;
    const split_phase_t *phase;
    const float *sums;
    int64_t kept_lines;                    /* of each half */
    const int64_t *lines, *places, *added; /* [pixel] of the block, as in split_scratch_t */
    int64_t pixels;
    int64_t set_lines;              /* of the sums of one set of images */
    int64_t image, sets;            /* the item's first image; its sets */
    int64_t group, filter, filters; /* of the panel */
    int64_t next, units, ready;     /* units stored, all of them; lines computed */
} split_store_t;

/* All activations but none and relu: code that exists once. */
ONE_COPY vector_float32 activated_other(vector_float32 v, activation_t activation, float slope) {
    switch (activation) {
    case ACTIVATION_RELU6: return activated_float32(ACTIVATION_RELU6, v, slope);
    case ACTIVATION_LEAKY_RELU: return activated_float32(ACTIVATION_LEAKY_RELU, v, slope);
    case ACTIVATION_SILU: return activated_float32(ACTIVATION_SILU, v, slope);
    case ACTIVATION_GELU: return activated_float32(ACTIVATION_GELU, v, slope);
    case ACTIVATION_TANH: return activated_float32(ACTIVATION_TANH, v, slope);
    default: return activated_float32(ACTIVATION_SIGMOID, v, slope);
    }
}

/* A vector of results: bias and addend are there already. */
ALWAYS_INLINE __m512 activated(const epilogue_t *epilogue, __m512 v) {
    if (epilogue->activation == ACTIVATION_NONE) return v;
    if (epilogue->activation == ACTIVATION_RELU)
        return (__m512)activated_float32(ACTIVATION_RELU, (vector_float32)v, 0);
    return (__m512)activated_other((vector_float32)v, epilogue->activation, (float)epilogue->slope);
}

/* Float32 to 16 bits; subnormal results stay as they are, which the conversion of AVX512-BF16 would not leave them. */
ALWAYS_INLINE __m256i narrowed(const element_t element, const int may_be_nan, __m512 v) {
    if (element == ELEMENT_FLOAT16) return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    if (!may_be_nan) return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

ALWAYS_INLINE void store_elements(const element_t element, const int may_be_nan, char *to, __mmask16 mask, __m512 v) {
    if (element == ELEMENT_FLOAT32)
        _mm512_mask_storeu_ps(to, mask, v);
    else if (mask == 0xffff)
        _mm256_storeu_si256((void *)to, narrowed(element, may_be_nan, v));
    else
        _mm256_mask_storeu_epi16(to, mask, narrowed(element, may_be_nan, v));
}

/* To every second element; those between them, another stride phase's, are not touched. */
ALWAYS_INLINE void store_every_second(const element_t element, char *to, int64_t count, __m512 v) {
    if (element == ELEMENT_FLOAT32) {
        const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        _mm512_mask_storeu_ps(to, 0x5555 & first_lanes(2 * count), _mm512_permutexvar_ps(low, v));
        _mm512_mask_storeu_ps(to + 64, 0x5555 & first_lanes(2 * count - 16), _mm512_permutexvar_ps(high, v));
        return;
    }
    const __mmask32 mask = 0x55555555 & (count >= 16 ? 0xffffffff : (1u << 2 * count) - 1);
    _mm512_mask_storeu_epi16(to, mask, _mm512_cvtepu16_epi32(narrowed(element, 1, v)));
}

ALWAYS_INLINE void store_apart(const element_t element, char *to, const int64_t *places, int64_t step, int64_t count,
                               __m512 v) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    if (step == 2) {
        store_every_second(element, to + places[0] * bytes, count, v);
        return;
    }
    if (element == ELEMENT_FLOAT32) {
        float values[16];
        _mm512_storeu_ps(values, v);
        for (int64_t i = 0; i < count; i++) ((float *)to)[places[i]] = values[i];
        return;
    }
    uint16_t values[16];
    _mm256_storeu_si256((void *)values, narrowed(element, 1, v));
    for (int64_t i = 0; i < count; i++) ((uint16_t *)to)[places[i]] = values[i];
}

ALWAYS_INLINE __m512 load_scattered(const element_t element, const char *from, const int64_t *places, int64_t count) {
    float values[16] = {0};
    for (int64_t i = 0; i < count; i++)
        values[i] = load_element(element, from + places[i] * (element == ELEMENT_FLOAT32 ? 4 : 2));
    return _mm512_loadu_ps(values);
}

typedef struct {
    const float *lines[16]; /* of every pixel, in the first half; the last one again where there are fewer */
    const int64_t *places, *added;
    int64_t step, added_step; /* from each place to the next; 0: they differ */
    int64_t count;
    int64_t filter; /* over all groups */
    char *result;
    const char *addend; /* NULL: none */
} unit_t;

/* All filters of a panel of one pixel, by whole vectors: masked stores of narrowed lanes are slow. */
ALWAYS_INLINE void store_panel(const element_t element, char *to, __m512 low, __m512 high) {
    if (element == ELEMENT_FLOAT32) {
        _mm512_storeu_ps(to, low);
        _mm512_storeu_ps(to + 64, high);
        return;
    }
    const __m256i first = narrowed(element, 0, low), second = narrowed(element, 0, high);
    _mm512_storeu_si512(to, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
}

/* Pixels whose filters are neighbours, here and in the addend. `plain`: no epilogue. */
ALWAYS_INLINE void store_pixels(const split_store_t *s, const element_t element, const int plain, const unit_t *u) {
    const epilogue_t *epilogue = &s->phase->epilogue;
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    if (plain && s->filters == PANEL_FILTERS) {
        for (int64_t i = 0; i < u->count; i++)
            store_panel(element, u->result + u->places[i] * bytes, _mm512_load_ps(u->lines[i]),
                        _mm512_load_ps(u->lines[i] + 16 * s->kept_lines));
        return;
    }
    for (int64_t i = 0; i < u->count; i++)
        for (int64_t half = 0; half < s->filters; half += 16) {
            const __mmask16 mask = first_lanes(s->filters - half);
            __m512 v = _mm512_load_ps(u->lines[i] + half * s->kept_lines);
            if (!plain && epilogue->bias != NULL)
                v = _mm512_add_ps(v, load_elements(element, epilogue->bias + (u->filter + half) * bytes, mask));
            if (!plain && u->addend != NULL)
                v = _mm512_add_ps(v, load_elements(element, u->addend + (u->added[i] + half) * bytes, mask));
            store_elements(element, !plain, u->result + (u->places[i] + half) * bytes, mask,
                           plain ? v : activated(epilogue, v));
        }
}

/* One filter of a unit: pixels in the lanes, neighbours or anywhere. */
ALWAYS_INLINE void store_filter_of(const split_store_t *s, const element_t element, const unit_t *u, int64_t filter,
                                   __m512 v) {
    const epilogue_t *epilogue = &s->phase->epilogue;
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    const __mmask16 mask = first_lanes(u->count);
    char *to = u->result + filter * s->phase->correlation.result_stride[1] * bytes;
    if (epilogue->bias != NULL)
        v = _mm512_add_ps(v, _mm512_set1_ps(load_element(element, epilogue->bias + (u->filter + filter) * bytes)));
    if (u->addend != NULL) {
        const char *addend = u->addend + filter * epilogue->add_stride[1] * bytes;
        if (u->added_step == 1)
            v = _mm512_add_ps(v, load_elements(element, addend + u->added[0] * bytes, mask));
        else
            v = _mm512_add_ps(v, load_scattered(element, addend, u->added, u->count));
    }
    v = activated(epilogue, v);
    if (u->step == 1)
        store_elements(element, 1, to + u->places[0] * bytes, mask, v);
    else
        store_apart(element, to, u->places, u->step, u->count, v);
}

/* Pixels whose filters lie apart. `plain`: 16 neighbours without an epilogue. */
ALWAYS_INLINE void store_transposed(const split_store_t *s, const element_t element, const int plain, const unit_t *u) {
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    const int64_t filter_bytes = s->phase->correlation.result_stride[1] * bytes;
    for (int64_t half = 0; half < s->filters; half += 16) {
        const char *rows[16];
        for (int64_t i = 0; i < 16; i++) rows[i] = (const char *)(u->lines[i] + half * s->kept_lines);
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512i columns[4];
            const int64_t filter = half + 4 * quarter;
            if (filter >= s->filters) return;
            transpose_quarter(rows, quarter, columns);
            for (int64_t i = 0; i < 4 && filter + i < s->filters; i++) {
                const __m512 v = _mm512_castsi512_ps(columns[i]);
                if (plain)
                    store_elements(element, 0, u->result + (filter + i) * filter_bytes + u->places[0] * bytes, 0xffff,
                                   v);
                else
                    store_filter_of(s, element, u, filter + i, v);
            }
        }
    }
}

/* The step from each place to the next, 1 of a single one; 0 where they differ: rows may lie closer than pixels. */
static int64_t step_of(const int64_t *places, int64_t count) {
    const int64_t step = count > 1 ? places[1] - places[0] : 1;
    for (int64_t i = 2; i < count; i++)
        if (places[i] - places[i - 1] != step) return 0;
    return step;
}

/* Units: [set][16 pixels][image]. */
static void store_unit(split_store_t *s) {
    const split_job_t *job = s->job;
    const correlation_t *c = &s->phase->correlation;
    const epilogue_t *epilogue = &s->phase->epilogue;
    const int64_t pixel_units = div_up(s->pixels, 16), n = s->next % job->images, at = s->next++ / job->images;
    const int64_t set = at / pixel_units, pixel = at % pixel_units * 16, image = s->image + set * job->images + n;
    if (image >= c->batch) return;
    unit_t u = {.places = s->places + pixel, .added = s->added + pixel, .count = min64(s->pixels - pixel, 16)};
    const int64_t first = set * s->set_lines + n, begin = (first + s->lines[pixel]) / s->kept_lines * s->kept_lines;
    for (int64_t i = 0; i < 16; i++) {
        const int64_t line = first + s->lines[pixel + min64(i, u.count - 1)] - begin;
        u.lines[i] = s->sums + (line < s->kept_lines ? line : line - s->kept_lines) * 16;
    }
    u.step = step_of(u.places, u.count);
    u.added_step = step_of(u.added, u.count);
    u.filter = s->group * c->filters + s->filter;
    u.result = c->result + (image * c->result_stride[0] + u.filter * c->result_stride[1]) * job->element_bytes;
    if (epilogue->add != NULL)
        u.addend =
            epilogue->add + (image * epilogue->add_stride[0] + u.filter * epilogue->add_stride[1]) * job->element_bytes;
    const int by_pixels = c->result_stride[1] == 1 && (epilogue->add == NULL || epilogue->add_stride[1] == 1);
    const int no_epilogue = epilogue_is_empty_float32(epilogue);
    const int are_neighbours = u.count == 16 && u.step == 1;
#define STORE(element)                                                                                                 \
    if (by_pixels && no_epilogue)                                                                                      \
        store_pixels(s, element, 1, &u);                                                                               \
    else if (by_pixels)                                                                                                \
        store_pixels(s, element, 0, &u);                                                                               \
    else if (no_epilogue && are_neighbours)                                                                            \
        store_transposed(s, element, 1, &u);                                                                           \
    else                                                                                                               \
        store_transposed(s, element, 0, &u);
    switch (job->element) {
    case ELEMENT_FLOAT32: STORE(ELEMENT_FLOAT32) break;
    case ELEMENT_BFLOAT16: STORE(ELEMENT_BFLOAT16) break;
    default: STORE(ELEMENT_FLOAT16)
    }
#undef STORE
}

/* The first line that the next unit reads, and the end of those. */
ALWAYS_INLINE int64_t unit_lines(const split_store_t *s, int64_t *end) {
    const int64_t pixel_units = div_up(s->pixels, 16), at = s->next / s->job->images;
    const int64_t first = at / pixel_units * s->set_lines, pixel = at % pixel_units * 16;
    *end = first + s->lines[min64(pixel + 15, s->pixels - 1)] + s->job->images;
    return first + s->lines[pixel];
}

/* Whether the next unit's lines have been computed. */
ALWAYS_INLINE int unit_is_ready(const split_store_t *s) {
    int64_t end;
    if (s->next >= s->units) return 0;
    unit_lines(s, &end);
    return end <= s->ready;
}

/* Whether the next unit's lines are about to be overwritten by `lines` more. */
ALWAYS_INLINE int unit_is_due(const split_store_t *s, int64_t lines) {
    int64_t end;
    return s->next < s->units && unit_lines(s, &end) < s->ready + lines - s->kept_lines;
}
