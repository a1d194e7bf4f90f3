/* The three directions for one element type; reference.c includes this once per type.
 * REFERENCE names the functions, ELEMENT is what the operands hold, SUM what is summed, RESULT what is stored,
 * PRODUCT(a, b) the product of two SUMs.
 * conj() is not applied here: complex gradients are conjugated by the caller. */
#define JOIN(a, b) a##b
#define NAMED(prefix, name) JOIN(prefix, name)

static void NAMED(forward_, REFERENCE)(const correlation_t *c, int64_t item) {
    const ELEMENT *source = (const ELEMENT *)c->source, *weight = (const ELEMENT *)c->weight;
    RESULT *result = (RESULT *)c->result;
    int64_t n, k, pixel[3], index[3];
    const int64_t end = split_piece(item, c->groups * c->filters, c->pixels, &n, &k, pixel), g = k / c->filters;
    for (; pixel[2] < end; pixel[2]++) {
        SUM sum = 0;
        for (int64_t channel = 0; channel < c->channels; channel++) {
            int64_t tap[3] = {0};
            if (is_empty(c->taps)) break;
            do {
                int inside = source_index(c, pixel, tap, index);
                /* Padding is a real zero: 0 * inf is NaN here as in the definition. */
                ELEMENT x = inside ? source[dot5(c->source_stride, n, g * c->channels + channel, index)] : 0;
                sum += PRODUCT((SUM)x, (SUM)weight[dot5(c->weight_stride, k, channel, tap)]);
            } while (next(tap, c->taps));
        }
        result[dot5(c->result_stride, n, k, pixel)] = (RESULT)sum;
    }
}

static void NAMED(backward_input_, REFERENCE)(const correlation_t *c, int64_t item) {
    const ELEMENT *result = (const ELEMENT *)c->result, *weight = (const ELEMENT *)c->weight;
    RESULT *source = (RESULT *)c->source;
    int64_t n, channel, index[3], pixel[3];
    const int64_t end = split_piece(item, c->groups * c->channels, c->source_size, &n, &channel, index);
    const int64_t g = channel / c->channels;
    for (; index[2] < end; index[2]++) {
        SUM sum = 0;
        for (int64_t filter = 0; filter < c->filters; filter++) {
            int64_t tap[3] = {0}, k = g * c->filters + filter;
            if (is_empty(c->taps)) break;
            do {
                if (!pixel_of(c, index, tap, pixel)) continue;
                sum += PRODUCT((SUM)result[dot5(c->result_stride, n, k, pixel)],
                               (SUM)weight[dot5(c->weight_stride, k, channel - g * c->channels, tap)]);
            } while (next(tap, c->taps));
        }
        source[dot5(c->source_stride, n, channel, index)] = (RESULT)sum;
    }
}

static void NAMED(backward_weight_, REFERENCE)(const correlation_t *c, int64_t item) {
    const ELEMENT *source = (const ELEMENT *)c->source, *result = (const ELEMENT *)c->result;
    RESULT *weight = (RESULT *)c->weight;
    int64_t tap[3], index[3];
    for (int axis = 2; axis >= 0; axis--) {
        tap[axis] = item % c->taps[axis];
        item /= c->taps[axis];
    }
    const int64_t k = item / c->channels, channel = item % c->channels, g = k / c->filters;
    SUM sum = 0;
    for (int64_t n = 0; n < c->batch; n++) {
        int64_t pixel[3] = {0};
        if (is_empty(c->pixels)) break;
        do {
            int inside = source_index(c, pixel, tap, index);
            ELEMENT x = inside ? source[dot5(c->source_stride, n, g * c->channels + channel, index)] : 0;
            sum += PRODUCT((SUM)x, (SUM)result[dot5(c->result_stride, n, k, pixel)]);
        } while (next(pixel, c->pixels));
    }
    weight[dot5(c->weight_stride, k, channel, tap)] = (RESULT)sum;
}

void NAMED(reference_, REFERENCE)(const void *job, int64_t item, void *scratch) {
    const reference_job_t *reference = (const reference_job_t *)job;
    (void)scratch;
    switch (reference->direction) {
    case REFERENCE_FORWARD: NAMED(forward_, REFERENCE)(&reference->correlation, item); break;
    case REFERENCE_BACKWARD_INPUT: NAMED(backward_input_, REFERENCE)(&reference->correlation, item); break;
    default: NAMED(backward_weight_, REFERENCE)(&reference->correlation, item);
    }
}

#undef JOIN
#undef NAMED
#undef REFERENCE
#undef ELEMENT
#undef SUM
#undef RESULT
#undef PRODUCT
