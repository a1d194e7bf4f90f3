/* Discrete Fourier transforms of LANES sequences side by side: data[point][re, im][lane].
 *
 *     forward   X[k] = sum over n of  x[n] * exp(-2 pi i n k / size)
 *     inverse   x[n] = sum over k of  X[k] * exp(+2 pi i n k / size)
 *
 * In place, in stages of radix 3, 4, 5 or 8: decimation in frequency, then for the inverse the same stages undone in
 * the opposite order. Spectra stay in the order in which the last stage leaves them (blocking.py has it), since
 * only products of spectra are formed of them. Twiddles are rounded from float64. Numerics: a stage of radix r adds
 * about log2(r) + 1 roundings to every element, none larger than the norm of the sequence. */
#define COMPLEX NAMED(complex)
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FUSES 1
#else
#define FUSES 0
#endif

typedef struct {
    NAMED(vector) re, im;
} COMPLEX;

ALWAYS_INLINE COMPLEX NAMED(complex_of)(const REAL *re, const REAL *im) {
    COMPLEX x = {NAMED(load)(re), NAMED(load)(im)};
    LOADED_ONCE(x.re);
    LOADED_ONCE(x.im);
    return x;
}
ALWAYS_INLINE COMPLEX NAMED(complex_at)(const REAL *at) { return NAMED(complex_of)(at, at + LANES); }
ALWAYS_INLINE void NAMED(put_complex)(REAL *at, COMPLEX x) {
    NAMED(store)(at, x.re);
    NAMED(store)(at + LANES, x.im);
}
ALWAYS_INLINE COMPLEX NAMED(plus)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re + b.re, a.im + b.im}; }
ALWAYS_INLINE COMPLEX NAMED(minus)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re - b.re, a.im - b.im}; }
ALWAYS_INLINE COMPLEX NAMED(scaled)(COMPLEX a, REAL factor) { return (COMPLEX){a.re * factor, a.im * factor}; }
ALWAYS_INLINE COMPLEX NAMED(product)(COMPLEX a, COMPLEX b) {
    return (COMPLEX){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* a * conj(b) */
ALWAYS_INLINE COMPLEX NAMED(product_conj)(COMPLEX a, COMPLEX b) {
    return (COMPLEX){a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}
/* a + b * factor, a - b * factor */
ALWAYS_INLINE COMPLEX NAMED(plus_times)(COMPLEX a, COMPLEX b, NAMED(vector) factor) {
    return (COMPLEX){a.re + b.re * factor, a.im + b.im * factor};
}
ALWAYS_INLINE COMPLEX NAMED(minus_times)(COMPLEX a, COMPLEX b, NAMED(vector) factor) {
    return (COMPLEX){a.re - b.re * factor, a.im - b.im * factor};
}
/* -i * a; inverse: i * a. */
ALWAYS_INLINE COMPLEX NAMED(quarter)(COMPLEX a, const int inverse) {
    return inverse ? (COMPLEX){-a.im, a.re} : (COMPLEX){a.im, -a.re};
}

ALWAYS_INLINE void NAMED(butterfly_4)(COMPLEX *x, const int inverse) {
    const COMPLEX sum = NAMED(plus)(x[0], x[2]), difference = NAMED(minus)(x[0], x[2]);
    const COMPLEX odd = NAMED(plus)(x[1], x[3]), rotated = NAMED(quarter)(NAMED(minus)(x[1], x[3]), inverse);
    x[0] = NAMED(plus)(sum, odd);
    x[1] = NAMED(plus)(difference, rotated);
    x[2] = NAMED(minus)(sum, odd);
    x[3] = NAMED(minus)(difference, rotated);
}

/* Without twiddles (`twisted`) there is little to multiply for units that do nothing else: some differences are taken
 * there, with the help of a 1 that the compiler does not see. They are rounded alike. */
ALWAYS_INLINE void NAMED(butterfly_8)(COMPLEX *x, const int inverse, const int twisted) {
    COMPLEX even[4], odd[4];
    NAMED(vector) one = (REAL)1 - (NAMED(vector)){0};
    LOADED_ONCE(one);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        even[i] = NAMED(plus)(x[i], x[i + 4]);
        odd[i] = FUSES && !twisted ? NAMED(minus_times)(x[i], x[i + 4], one) : NAMED(minus)(x[i], x[i + 4]);
    }
    NAMED(butterfly_4)(even, inverse);
    /* odd[1] and odd[3] are to be rotated by one and three eighths: times (1 -+ i) / sqrt(2) and (-1 -+ i) / sqrt(2).
     */
    const NAMED(vector) half = (REAL)0.70710678118654752440 - (NAMED(vector)){0};
    const COMPLEX first = NAMED(plus)(odd[1], NAMED(quarter)(odd[1], inverse));
    const COMPLEX third = NAMED(minus)(NAMED(quarter)(odd[3], inverse), odd[3]);
    const COMPLEX rotated = NAMED(quarter)(odd[2], inverse);
    const COMPLEX sum = NAMED(plus)(odd[0], rotated), difference = NAMED(minus)(odd[0], rotated);
    const COMPLEX both = NAMED(plus)(first, third), apart = NAMED(quarter)(NAMED(minus)(first, third), inverse);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) x[2 * i] = even[i];
    x[1] = NAMED(plus_times)(sum, both, half);
    x[3] = NAMED(plus_times)(difference, apart, half);
    x[5] = NAMED(minus_times)(sum, both, half);
    x[7] = NAMED(minus_times)(difference, apart, half);
}

ALWAYS_INLINE void NAMED(butterfly_3)(COMPLEX *x, const int inverse) {
    const REAL sine = (REAL)0.86602540378443864676;
    const COMPLEX sum = NAMED(plus)(x[1], x[2]);
    const COMPLEX rotated = NAMED(scaled)(NAMED(quarter)(NAMED(minus)(x[1], x[2]), inverse), sine);
    const COMPLEX middle = NAMED(minus)(x[0], NAMED(scaled)(sum, (REAL)0.5));
    x[0] = NAMED(plus)(x[0], sum);
    x[1] = NAMED(plus)(middle, rotated);
    x[2] = NAMED(minus)(middle, rotated);
}

ALWAYS_INLINE void NAMED(butterfly_5)(COMPLEX *x, const int inverse) {
    /* cos and sin of 2 pi / 5 and 4 pi / 5 */
    const REAL c1 = (REAL)0.30901699437494742410, c2 = (REAL)-0.80901699437494742410;
    const REAL s1 = (REAL)0.95105651629515357212, s2 = (REAL)0.58778525229247312917;
    const COMPLEX outer = NAMED(plus)(x[1], x[4]), inner = NAMED(plus)(x[2], x[3]);
    const COMPLEX wide = NAMED(quarter)(NAMED(minus)(x[1], x[4]), inverse);
    const COMPLEX close = NAMED(quarter)(NAMED(minus)(x[2], x[3]), inverse);
    const COMPLEX a = NAMED(plus)(x[0], NAMED(plus)(NAMED(scaled)(outer, c1), NAMED(scaled)(inner, c2)));
    const COMPLEX b = NAMED(plus)(x[0], NAMED(plus)(NAMED(scaled)(outer, c2), NAMED(scaled)(inner, c1)));
    const COMPLEX rotated_a = NAMED(plus)(NAMED(scaled)(wide, s1), NAMED(scaled)(close, s2));
    const COMPLEX rotated_b = NAMED(minus)(NAMED(scaled)(wide, s2), NAMED(scaled)(close, s1));
    x[0] = NAMED(plus)(x[0], NAMED(plus)(outer, inner));
    x[1] = NAMED(plus)(a, rotated_a);
    x[4] = NAMED(minus)(a, rotated_a);
    x[2] = NAMED(plus)(b, rotated_b);
    x[3] = NAMED(minus)(b, rotated_b);
}

ALWAYS_INLINE void NAMED(butterfly)(const int radix, COMPLEX *x, const int inverse, const int twisted) {
    if (radix == 3) NAMED(butterfly_3)(x, inverse);
    if (radix == 4) NAMED(butterfly_4)(x, inverse);
    if (radix == 5) NAMED(butterfly_5)(x, inverse);
    if (radix == 8) NAMED(butterfly_8)(x, inverse, twisted);
}

/* x[k] times twiddle k, for the inverse times its conjugate. */
ALWAYS_INLINE void NAMED(twist)(const int radix, COMPLEX *x, const REAL *twiddles, const int inverse) {
#pragma GCC unroll 8
    for (int k = 1; k < radix; k++) {
        const COMPLEX by = {twiddles[2 * (k - 1)] - (NAMED(vector)){0}, twiddles[2 * (k - 1) + 1] - (NAMED(vector)){0}};
        x[k] = inverse ? NAMED(product_conj)(x[k], by) : NAMED(product)(x[k], by);
    }
}

/* One stage: `blocks` blocks of radix * part points each; twiddles[part][radix - 1][re, im], all 1 and absent where
 * part is 1. `long_twiddles` are factors of the points, before a forward stage or after one of the inverse. */
ALWAYS_INLINE void NAMED(stage)(const int radix, const int inverse, const int is_long, const int twisted, REAL *data,
                                int64_t blocks, int64_t part, const REAL *twiddles, const REAL *long_twiddles) {
    const int64_t step = part * 2 * LANES;
    for (int64_t j = 0; j < part;
         j++, data += 2 * LANES, long_twiddles += is_long * 2 * LANES, twiddles += 2 * (radix - 1)) {
        REAL *at = data;
        for (int64_t b = 0; b < blocks; b++, at += radix * step) {
            COMPLEX x[8];
#pragma GCC unroll 8
            for (int k = 0; k < radix; k++) {
                x[k] = NAMED(complex_at)(at + k * step);
                if (is_long && !inverse) x[k] = NAMED(product)(x[k], NAMED(complex_at)(long_twiddles + k * step));
            }
            if (inverse && twisted) NAMED(twist)(radix, x, twiddles, 1);
            NAMED(butterfly)(radix, x, inverse, twisted);
            if (!inverse && twisted) NAMED(twist)(radix, x, twiddles, 0);
#pragma GCC unroll 8
            for (int k = 0; k < radix; k++) {
                if (is_long && inverse) x[k] = NAMED(product_conj)(x[k], NAMED(complex_at)(long_twiddles + k * step));
                NAMED(put_complex)(at + k * step, x[k]);
            }
        }
    }
}

/* The last stage, products with `factors` and the first stage of the inverse at once. */
ALWAYS_INLINE void NAMED(middle)(const int radix, REAL *data, int64_t blocks, const REAL *factors) {
    for (int64_t b = 0; b < blocks; b++, data += radix * 2 * LANES, factors += radix * 2 * LANES) {
        COMPLEX x[8];
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) x[k] = NAMED(complex_at)(data + k * 2 * LANES);
        NAMED(butterfly)(radix, x, 0, 0);
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) x[k] = NAMED(product)(x[k], NAMED(complex_at)(factors + k * 2 * LANES));
        NAMED(butterfly)(radix, x, 1, 0);
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) NAMED(put_complex)(data + k * 2 * LANES, x[k]);
    }
}

/* Rows of `columns` real and of imaginary parts, each for itself, and where their points are: vectors are `pitch`
 * apart, rows `step`. */
typedef struct {
    REAL *row[2][8];
    int64_t columns[2];
    REAL *points;
    int64_t pitch, step;
} NAMED(point_rows_t);

/* One j of the first stage, read from rows. */
ALWAYS_INLINE void NAMED(first_stage)(const int radix, const NAMED(point_rows_t) *rows, const REAL *twiddles) {
    REAL *to = rows->points;
    for (int64_t v = 0; v < rows->columns[0]; v += LANES, to += rows->pitch) {
        COMPLEX x[8];
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) x[k] = NAMED(complex_of)(rows->row[0][k] + v, rows->row[1][k] + v);
        NAMED(butterfly)(radix, x, 0, 1);
        NAMED(twist)(radix, x, twiddles, 0);
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) NAMED(put_complex)(to + k * rows->step, x[k]);
    }
}

static void NAMED(store_less)(REAL *to, NAMED(vector) value, int64_t count) {
    if (count >= LANES)
        NAMED(store)(to, value);
    else if (count > 0)
        NAMED(copy_few)(to, (const REAL *)&value, count);
}

/* One j of the last stage of the inverse, stored in rows; returns 0 times the sum of all that is in them. */
ALWAYS_INLINE COMPLEX NAMED(final_stage)(const int radix, const NAMED(point_rows_t) *rows, const REAL *twiddles) {
    const int64_t most = max64(rows->columns[0], rows->columns[1]), least = min64(rows->columns[0], rows->columns[1]);
    const REAL *from = rows->points;
    COMPLEX zero = {{0}, {0}};
    for (int64_t v = 0; v < most; v += LANES, from += rows->pitch) {
        COMPLEX x[8];
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) x[k] = NAMED(complex_at)(from + k * rows->step);
        NAMED(twist)(radix, x, twiddles, 1);
        NAMED(butterfly)(radix, x, 1, 1);
#pragma GCC unroll 8
        for (int k = 0; k < radix; k++) zero = NAMED(plus)(zero, NAMED(scaled)(x[k], 0));
        if (v + LANES <= least) {
#pragma GCC unroll 8
            for (int k = 0; k < radix; k++) {
                NAMED(store)(rows->row[0][k] + v, x[k].re);
                NAMED(store)(rows->row[1][k] + v, x[k].im);
            }
            continue;
        }
        for (int k = 0; k < radix; k++) {
            NAMED(store_less)(rows->row[0][k] + v, x[k].re, rows->columns[0] - v);
            NAMED(store_less)(rows->row[1][k] + v, x[k].im, rows->columns[1] - v);
        }
    }
    return zero;
}

typedef void (*NAMED(stage_fn))(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles,
                                const REAL *long_twiddles);

/* The stages of one radix. */
typedef struct {
    NAMED(stage_fn) stage[2], long_stage[2], last[2]; /* forward and inverse */
    void (*middle)(REAL *data, int64_t blocks, const REAL *factors);
    void (*first)(const NAMED(point_rows_t) *rows, const REAL *twiddles);
    COMPLEX (*final)(const NAMED(point_rows_t) *rows, const REAL *twiddles);
} NAMED(radix_t);

#define STAGE(name, ...)                                                                                               \
    static void NAMED(name)(REAL * data, int64_t blocks, int64_t part, const REAL *twiddles,                           \
                            const REAL *long_twiddles) {                                                               \
        NAMED(stage)(__VA_ARGS__, twiddles, long_twiddles);                                                            \
        (void)part;                                                                                                    \
    }
#define RADIX(radix)                                                                                                   \
    STAGE(stage_##radix, radix, 0, 0, 1, data, blocks, part)                                                           \
    STAGE(stage_##radix##_back, radix, 1, 0, 1, data, blocks, part)                                                    \
    STAGE(long_##radix, radix, 0, 1, 1, data, blocks, part)                                                            \
    STAGE(long_##radix##_back, radix, 1, 1, 1, data, blocks, part)                                                     \
    STAGE(last_##radix, radix, 0, 0, 0, data, blocks, 1)                                                               \
    STAGE(last_##radix##_back, radix, 1, 0, 0, data, blocks, 1)                                                        \
    static void NAMED(middle_##radix)(REAL * data, int64_t blocks, const REAL *factors) {                              \
        NAMED(middle)(radix, data, blocks, factors);                                                                   \
    }                                                                                                                  \
    static void NAMED(first_##radix)(const NAMED(point_rows_t) *rows, const REAL *twiddles) {                          \
        NAMED(first_stage)(radix, rows, twiddles);                                                                     \
    }                                                                                                                  \
    static COMPLEX NAMED(final_##radix)(const NAMED(point_rows_t) *rows, const REAL *twiddles) {                       \
        return NAMED(final_stage)(radix, rows, twiddles);                                                              \
    }
RADIX(3)
RADIX(4)
RADIX(5)
RADIX(8)
#undef STAGE
#undef RADIX

static const NAMED(radix_t) *NAMED(radix)(int64_t radix) {
#define RADIX(radix)                                                                                                   \
    {                                                                                                                  \
        {NAMED(stage_##radix), NAMED(stage_##radix##_back)}, {NAMED(long_##radix), NAMED(long_##radix##_back)},        \
            {NAMED(last_##radix), NAMED(last_##radix##_back)}, NAMED(middle_##radix), NAMED(first_##radix),            \
            NAMED(final_##radix)                                                                                       \
    }
    static const NAMED(radix_t) radices[] = {RADIX(3), RADIX(4), RADIX(5), RADIX(8)};
#undef RADIX
    return &radices[radix == 8 ? 3 : radix - 3];
}

/* Stages [begin, end) of a transform, or for the inverse the same undone. `long_twiddles` (NULL: none) go with stage 0.
 */
static void NAMED(fourier)(const transform_t *t, int64_t begin, int64_t end, const int inverse, REAL *data,
                           const REAL *long_twiddles) {
    for (int64_t i = begin; i < end; i++) {
        const int64_t s = inverse ? begin + end - 1 - i : i, part = t->part[s];
        const NAMED(radix_t) *of = NAMED(radix)(t->radix[s]);
        const NAMED(stage_fn) *stage = part == 1                         ? of->last
                                       : s == 0 && long_twiddles != NULL ? of->long_stage
                                                                         : of->stage;
        stage[inverse](data, t->size / t->radix[s] / part, part, (const REAL *)t->twiddles + t->first_twiddle[s],
                       long_twiddles);
    }
}
