/* Sums of tiles to the result: up to 16 pixels by 16 filters at a time, epilogue included.
 *
 * Layout. Sums are float [half of a panel][line][16 filters]; a unit is 16 pixels of one image that follow one another
 * in the item's block, and one half. Where filters are neighbours in the result (channels last) each pixel is stored as
 * it is, else the unit is turned. Numerics: float32; narrower results are rounded once, to nearest, ties to even. */

typedef struct {
    const split_job_t *job;
    const split_sum_t *sum;
    const float *sums;
    int64_t half_floats; /* from one half to the other */
    const int64_t *lines, *places, *added; /* [pixel] of the block, as in split_scratch_t */
    int64_t pixels;
    int64_t set_lines;   /* of the sums of one set of images */
    int64_t image, sets; /* the item's first image; its sets */
    int64_t group, filter, filters; /* of the panel */
    int64_t next, units, ready; /* units stored, all of them; lines computed */
} split_store_t;

/* A vector of results: bias and addend are there already. NaN stays. */
ALWAYS_INLINE __m512 activated(const epilogue_t *epilogue, __m512 v) {
    if (epilogue->activation == ACTIVATION_NONE) return v;
    if (epilogue->activation == ACTIVATION_RELU)
        return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), _mm512_setzero_ps());
    float values[16];
    _mm512_storeu_ps(values, v);
    for (int i = 0; i < 16; i++) values[i] = activate_float32(values[i], epilogue->activation, (float)epilogue->slope);
    return _mm512_loadu_ps(values);
}

/* Float32 to 16 bits; subnormal results stay as they are, which the conversion of AVX512-BF16 would not leave them. */
ALWAYS_INLINE __m256i narrowed(const element_t element, __m512 v) {
    if (element == ELEMENT_FLOAT16) return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

ALWAYS_INLINE void store_elements(const element_t element, char *to, __mmask16 mask, __m512 v) {
    if (element == ELEMENT_FLOAT32)
        _mm512_mask_storeu_ps(to, mask, v);
    else
        _mm256_mask_storeu_epi16(to, mask, narrowed(element, v));
}

ALWAYS_INLINE void store_apart(const element_t element, char *to, const int64_t *places, int64_t count, __m512 v) {
    if (element == ELEMENT_FLOAT32) {
        float values[16];
        _mm512_storeu_ps(values, v);
        for (int64_t i = 0; i < count; i++) ((float *)to)[places[i]] = values[i];
        return;
    }
    uint16_t values[16];
    _mm256_storeu_si256((void *)values, narrowed(element, v));
    for (int64_t i = 0; i < count; i++) ((uint16_t *)to)[places[i]] = values[i];
}

ALWAYS_INLINE __m512 load_scattered(const element_t element, const char *from, const int64_t *places, int64_t count) {
    float values[16] = {0};
    for (int64_t i = 0; i < count; i++)
        values[i] = load_element(element, from + places[i] * (element == ELEMENT_FLOAT32 ? 4 : 2));
    return _mm512_loadu_ps(values);
}

typedef struct {
    const float *sums; /* of the unit's image and half */
    const int64_t *lines, *places, *added;
    int64_t count;
    int64_t filter, filters; /* over all groups; at most 16 */
    char *result;
    const char *addend; /* NULL: none */
} unit_t;

/* Pixels whose filters are neighbours, here and in the addend. */
ALWAYS_INLINE void store_pixels(const split_store_t *s, const element_t element, const unit_t *u) {
    const epilogue_t *epilogue = &s->sum->epilogue;
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2;
    const __mmask16 mask = first_lanes(u->filters);
    __m512 bias = _mm512_setzero_ps();
    if (epilogue->bias != NULL) bias = load_elements(element, epilogue->bias + u->filter * bytes, mask);
    for (int64_t i = 0; i < u->count; i++) {
        __m512 v = _mm512_load_ps(u->sums + u->lines[i] * 16);
        if (epilogue->bias != NULL) v = _mm512_add_ps(v, bias);
        if (u->addend != NULL) v = _mm512_add_ps(v, load_elements(element, u->addend + u->added[i] * bytes, mask));
        store_elements(element, u->result + u->places[i] * bytes, mask, activated(epilogue, v));
    }
}

/* Pixels in the lanes: neighbours, or anywhere. */
ALWAYS_INLINE void store_turned(const split_store_t *s, const element_t element, const unit_t *u) {
    const epilogue_t *epilogue = &s->sum->epilogue;
    const int64_t bytes = element == ELEMENT_FLOAT32 ? 4 : 2, last = u->count - 1;
    const int64_t filter_bytes = s->sum->correlation.result_stride[1] * bytes;
    const int64_t add_bytes = epilogue->add_stride[1] * bytes;
    const int are_neighbours = u->places[last] - u->places[0] == last;
    const int added_are = u->addend != NULL && u->added[last] - u->added[0] == last;
    const __mmask16 mask = first_lanes(u->count);
    const char *rows[16];
    for (int64_t i = 0; i < 16; i++) rows[i] = (const char *)(u->sums + u->lines[min64(i, last)] * 16);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; quarter++) {
        __m512i columns[4];
        if (4 * quarter >= u->filters) break;
        turn_quarter(rows, quarter, columns);
        for (int64_t i = 0; i < 4 && 4 * quarter + i < u->filters; i++) {
            const int64_t filter = 4 * quarter + i;
            __m512 v = _mm512_castsi512_ps(columns[i]);
            if (epilogue->bias != NULL)
                v = _mm512_add_ps(v, _mm512_set1_ps(load_element(element, epilogue->bias + (u->filter + filter) * bytes)));
            if (added_are)
                v = _mm512_add_ps(v, load_elements(element, u->addend + filter * add_bytes + u->added[0] * bytes, mask));
            else if (u->addend != NULL)
                v = _mm512_add_ps(v, load_scattered(element, u->addend + filter * add_bytes, u->added, u->count));
            v = activated(epilogue, v);
            char *to = u->result + filter * filter_bytes;
            if (are_neighbours)
                store_elements(element, to + u->places[0] * bytes, mask, v);
            else
                store_apart(element, to, u->places, u->count, v);
        }
    }
}

/* Units: [set][16 pixels][image][half]. */
static unit_t unit_of(const split_store_t *s, int64_t number, int64_t *image) {
    const split_job_t *job = s->job;
    const int64_t pixel_units = div_up(s->pixels, 16), half = number % 2, n = number / 2 % job->images;
    const int64_t at = number / 2 / job->images, set = at / pixel_units, pixel = at % pixel_units * 16;
    unit_t u = {.lines = s->lines + pixel, .places = s->places + pixel, .added = s->added + pixel};
    u.count = min64(s->pixels - pixel, 16);
    u.sums = s->sums + half * s->half_floats + (set * s->set_lines + n) * 16;
    u.filter = s->filter + half * 16; /* in the group */
    u.filters = min64(s->filters - half * 16, 16);
    *image = s->image + set * job->images + n;
    return u;
}

static void store_unit(split_store_t *s) {
    const split_job_t *job = s->job;
    const correlation_t *c = &s->sum->correlation;
    const epilogue_t *epilogue = &s->sum->epilogue;
    int64_t image;
    unit_t u = unit_of(s, s->next++, &image);
    if (u.filters <= 0 || image >= c->batch) return;
    u.filter += s->group * c->filters;
    u.result = c->result + (image * c->result_stride[0] + u.filter * c->result_stride[1]) * job->element_bytes;
    if (epilogue->add != NULL)
        u.addend = epilogue->add +
                   (image * epilogue->add_stride[0] + u.filter * epilogue->add_stride[1]) * job->element_bytes;
    const int by_pixels = c->result_stride[1] == 1 && (epilogue->add == NULL || epilogue->add_stride[1] == 1);
#define STORE(element)                                                                                                 \
    if (by_pixels)                                                                                                     \
        store_pixels(s, element, &u);                                                                                  \
    else                                                                                                               \
        store_turned(s, element, &u);
    switch (job->element) {
    case ELEMENT_FLOAT32: STORE(ELEMENT_FLOAT32) break;
    case ELEMENT_BFLOAT16: STORE(ELEMENT_BFLOAT16) break;
    default: STORE(ELEMENT_FLOAT16)
    }
#undef STORE
}

/* Whether the next unit's lines have been computed. */
ALWAYS_INLINE int unit_is_ready(const split_store_t *s) {
    if (s->next >= s->units) return 0;
    const int64_t pixel_units = div_up(s->pixels, 16), at = s->next / 2 / s->job->images;
    const int64_t set = at / pixel_units, pixel = min64(at % pixel_units * 16 + 15, s->pixels - 1);
    return set * s->set_lines + s->lines[pixel] + s->job->images <= s->ready;
}
