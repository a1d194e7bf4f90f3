/* result = activation(result + bias + add) on a run of elements, for the element type REAL (included once per type).
 *
 * Elements of the run are `stride` apart; bias and add have strides of their own (bias stride 0: one channel; NULL:
 * absent). NaN stays NaN through every activation. gelu is the exact one, with erf. */
static inline REAL NAMED(activate)(REAL value, activation_t activation, REAL slope) {
    switch (activation) {
    case ACTIVATION_RELU: return value < 0 ? 0 : value;
    case ACTIVATION_RELU6: return value < 0 ? 0 : value > 6 ? 6 : value;
    case ACTIVATION_LEAKY_RELU: return value < 0 ? value * slope : value;
    case ACTIVATION_SILU: return value / (1 + REAL_MATH(exp)(-value));
    case ACTIVATION_GELU: return value * (REAL)0.5 * (1 + REAL_MATH(erf)(value * (REAL)0.70710678118654752440));
    case ACTIVATION_TANH: return REAL_MATH(tanh)(value);
    case ACTIVATION_SIGMOID: return 1 / (1 + REAL_MATH(exp)(-value));
    default: return value;
    }
}

static inline void NAMED(epilogue_run)(const epilogue_t *epilogue, REAL *result, int64_t stride, int64_t count,
                                       const REAL *bias, int64_t bias_stride, const REAL *add, int64_t add_stride) {
    if (bias != NULL && bias_stride == 0) {
        REAL value = *bias;
        for (int64_t i = 0; i < count; i++) result[i * stride] += value;
    } else if (bias != NULL) {
        for (int64_t i = 0; i < count; i++) result[i * stride] += bias[i * bias_stride];
    }
    if (add != NULL)
        for (int64_t i = 0; i < count; i++) result[i * stride] += add[i * add_stride];
    if (epilogue->activation == ACTIVATION_RELU) { /* alone in its loop so that it is vectorised */
        for (int64_t i = 0; i < count; i++) result[i * stride] = result[i * stride] < 0 ? 0 : result[i * stride];
    } else if (epilogue->activation != ACTIVATION_NONE) {
        REAL slope = (REAL)epilogue->slope;
        for (int64_t i = 0; i < count; i++)
            result[i * stride] = NAMED(activate)(result[i * stride], epilogue->activation, slope);
    }
}

static inline int NAMED(epilogue_is_empty)(const epilogue_t *epilogue) {
    return epilogue->bias == NULL && epilogue->add == NULL && epilogue->activation == ACTIVATION_NONE;
}
