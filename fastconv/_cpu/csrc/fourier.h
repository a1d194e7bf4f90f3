/* Discrete Fourier transforms of LANES sequences side by side: data[point][re, im][lane].
 *
 *     forward   X[k] = sum over n of  x[n] * exp(-2 pi i n k / size)
 *     inverse   x[n] = sum over k of  X[k] * exp(+2 pi i n k / size)
 *
 * In place, in stages of radix 3, 4, 5 or 8: decimation in frequency, then for the inverse the same stages undone in
 * the opposite order. Spectra stay in the order in which the last stage leaves them (spectral_layout.py has it), since
 * nothing but products of spectra is made of them. Twiddles are rounded from float64. Numerics: a stage of radix r adds
 * about log2(r) + 1 roundings to every element, none larger than the norm of the sequence. */
#define COMPLEX NAMED(complex)

typedef struct {
    NAMED(vector) re, im;
} COMPLEX;

ALWAYS_INLINE COMPLEX NAMED(complex_at)(const REAL *at) { return (COMPLEX){NAMED(load)(at), NAMED(load)(at + LANES)}; }
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
/* -i * a; inverse: i * a. */
ALWAYS_INLINE COMPLEX NAMED(quarter)(COMPLEX a, const int inverse) {
    return inverse ? (COMPLEX){-a.im, a.re} : (COMPLEX){a.im, -a.re};
}

ALWAYS_INLINE void NAMED(butterfly_4)(COMPLEX *a, COMPLEX *b, COMPLEX *c, COMPLEX *d, const int inverse) {
    const COMPLEX sum = NAMED(plus)(*a, *c), difference = NAMED(minus)(*a, *c);
    const COMPLEX odd = NAMED(plus)(*b, *d), turned = NAMED(quarter)(NAMED(minus)(*b, *d), inverse);
    *a = NAMED(plus)(sum, odd);
    *b = NAMED(plus)(difference, turned);
    *c = NAMED(minus)(sum, odd);
    *d = NAMED(minus)(difference, turned);
}

ALWAYS_INLINE void NAMED(butterfly_8)(COMPLEX *x, const int inverse) {
    COMPLEX even[4], odd[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        even[i] = NAMED(plus)(x[i], x[i + 4]);
        odd[i] = NAMED(minus)(x[i], x[i + 4]);
    }
    /* Eighths of a turn: (1 -+ i) / sqrt(2) times 1 and -+i. */
    const REAL half = (REAL)0.70710678118654752440;
    odd[1] = NAMED(scaled)(NAMED(plus)(odd[1], NAMED(quarter)(odd[1], inverse)), half);
    odd[2] = NAMED(quarter)(odd[2], inverse);
    odd[3] = NAMED(scaled)(NAMED(minus)(NAMED(quarter)(odd[3], inverse), odd[3]), half);
    NAMED(butterfly_4)(&even[0], &even[1], &even[2], &even[3], inverse);
    NAMED(butterfly_4)(&odd[0], &odd[1], &odd[2], &odd[3], inverse);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        x[2 * i] = even[i];
        x[2 * i + 1] = odd[i];
    }
}

ALWAYS_INLINE void NAMED(butterfly_3)(COMPLEX *x, const int inverse) {
    const REAL sine = (REAL)0.86602540378443864676;
    const COMPLEX sum = NAMED(plus)(x[1], x[2]);
    const COMPLEX turned = NAMED(scaled)(NAMED(quarter)(NAMED(minus)(x[1], x[2]), inverse), sine);
    const COMPLEX middle = NAMED(minus)(x[0], NAMED(scaled)(sum, (REAL)0.5));
    x[0] = NAMED(plus)(x[0], sum);
    x[1] = NAMED(plus)(middle, turned);
    x[2] = NAMED(minus)(middle, turned);
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
    const COMPLEX turned_a = NAMED(plus)(NAMED(scaled)(wide, s1), NAMED(scaled)(close, s2));
    const COMPLEX turned_b = NAMED(minus)(NAMED(scaled)(wide, s2), NAMED(scaled)(close, s1));
    x[0] = NAMED(plus)(x[0], NAMED(plus)(outer, inner));
    x[1] = NAMED(plus)(a, turned_a);
    x[4] = NAMED(minus)(a, turned_a);
    x[2] = NAMED(plus)(b, turned_b);
    x[3] = NAMED(minus)(b, turned_b);
}

/* One stage: `blocks` blocks of radix * part points each; twiddles[part][radix - 1][re, im], all 1 and absent where
 * part is 1. */
ALWAYS_INLINE void NAMED(stage)(const int radix, const int inverse, REAL *data, int64_t blocks, int64_t part,
                                const REAL *twiddles) {
    const int64_t step = part * 2 * LANES;
    for (int64_t j = 0; j < part; j++, data += 2 * LANES, twiddles += 2 * (radix - 1)) {
        REAL *at = data;
        for (int64_t b = 0; b < blocks; b++, at += radix * step) {
            COMPLEX x[8], twiddle[8];
#pragma GCC unroll 8
            for (int k = 0; k < radix; k++) x[k] = NAMED(complex_at)(at + k * step);
            if (part > 1) {
#pragma GCC unroll 8
                for (int k = 1; k < radix; k++) {
                    twiddle[k].re = twiddles[2 * (k - 1)] - (NAMED(vector)){0};
                    twiddle[k].im = twiddles[2 * (k - 1) + 1] - (NAMED(vector)){0};
                    if (inverse) x[k] = NAMED(product_conj)(x[k], twiddle[k]);
                }
            }
            if (radix == 3) NAMED(butterfly_3)(x, inverse);
            if (radix == 4) NAMED(butterfly_4)(&x[0], &x[1], &x[2], &x[3], inverse);
            if (radix == 5) NAMED(butterfly_5)(x, inverse);
            if (radix == 8) NAMED(butterfly_8)(x, inverse);
            if (part > 1 && !inverse)
#pragma GCC unroll 8
                for (int k = 1; k < radix; k++) x[k] = NAMED(product)(x[k], twiddle[k]);
#pragma GCC unroll 8
            for (int k = 0; k < radix; k++) NAMED(put_complex)(at + k * step, x[k]);
        }
    }
}

typedef void (*NAMED(stage_fn))(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles);
#define STAGE(radix)                                                                                                   \
    static void NAMED(stage_##radix)(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles) {                 \
        NAMED(stage)(radix, 0, data, blocks, part, twiddles);                                                          \
    }                                                                                                                  \
    static void NAMED(stage_##radix##_last)(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles) {          \
        (void)part;                                                                                                    \
        NAMED(stage)(radix, 0, data, blocks, 1, twiddles);                                                             \
    }                                                                                                                  \
    static void NAMED(stage_##radix##_inverse)(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles) {       \
        NAMED(stage)(radix, 1, data, blocks, part, twiddles);                                                          \
    }                                                                                                                  \
    static void NAMED(stage_##radix##_inverse_last)(REAL *data, int64_t blocks, int64_t part, const REAL *twiddles) {  \
        (void)part;                                                                                                    \
        NAMED(stage)(radix, 1, data, blocks, 1, twiddles);                                                             \
    }
STAGE(3)
STAGE(4)
STAGE(5)
STAGE(8)
#undef STAGE

static NAMED(stage_fn) NAMED(stage_of)(int64_t radix, int last, int inverse) {
#define STAGES(radix)                                                                                                  \
    {{NAMED(stage_##radix), NAMED(stage_##radix##_inverse)},                                                           \
     {NAMED(stage_##radix##_last), NAMED(stage_##radix##_inverse_last)}}
    static const NAMED(stage_fn) stages[4][2][2] = {STAGES(3), STAGES(4), STAGES(5), STAGES(8)};
#undef STAGES
    return stages[radix == 8 ? 3 : radix - 3][last][inverse];
}

static void NAMED(fourier)(const transform_t *t, REAL *data) {
    const REAL *twiddles = (const REAL *)t->twiddles;
    int64_t blocks = 1, part = t->size;
    for (int64_t s = 0; s < t->stages; s++) {
        const int64_t radix = t->radix[s];
        part /= radix;
        NAMED(stage_of)(radix, part == 1, 0)(data, blocks, part, twiddles);
        twiddles += 2 * (radix - 1) * part;
        blocks *= radix;
    }
}

static void NAMED(fourier_back)(const transform_t *t, REAL *data) {
    const REAL *twiddles = (const REAL *)t->twiddles + t->twiddle_count;
    int64_t blocks = t->size, part = 1;
    for (int64_t s = t->stages - 1; s >= 0; s--) {
        const int64_t radix = t->radix[s];
        blocks /= radix;
        if (part > 1) twiddles -= 2 * (radix - 1) * part;
        NAMED(stage_of)(radix, part == 1, 1)(data, blocks, part, twiddles);
        part *= radix;
    }
}
