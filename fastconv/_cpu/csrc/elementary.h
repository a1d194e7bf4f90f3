/* Elementary functions on vectors of REAL, included once per type behind vector.h: tanh, the logistic function, the
 * distribution function of the normal distribution, and products with the last two.
 *
 * Numerics: exp(x) = 2^n exp(r), x = n ln 2 + r, |r| <= ln(2) / 2. exp(r) - 1 = r + r^2 q(r) and g(s), below, are
 * interpolated at Chebyshev's points. Errors are, in units in the last place, at most 2 of tanh, 3 of products with the
 * logistic function, and 5 of those with the normal distribution (tests/test_activations.py): also where results are
 * tiny or subnormal. NaN stays NaN, -0 keeps its sign, and nothing overflows on its way to a finite result. */
#if REAL_BYTES == 4
#define FRACTION_BITS 23
#define EXPONENT_BIAS 127
#define SPLIT_BITS 12 /* without so many of its low bits a number's square is exact */
#define LN_2_HIGH 0.693359375f
#define LN_2_LOW -2.1219444e-4f
#define LEAST_EXPONENT -176   /* n = -2 * EXPONENT_BIAS: exp is 0 */
#define LAST_DEVIATION 18.75f /* its square over -2 is no less */
#define TANH_IS_1 10          /* from here on */
static const REAL NAMED(exp_terms)[] = {5.0e-1f, 1.66665734e-1f, 4.16665502e-2f, 8.36376702e-3f, 1.39269181e-3f};
static const REAL NAMED(tanh_terms)[] = {-3.3333332e-1f, 1.33331137e-1f, -5.39094288e-2f, 2.13093887e-2f,
                                         -6.61022783e-3f};
static const REAL NAMED(middle_terms)[] = {3.9894228e-1f,   -6.64903606e-2f, 9.97332848e-3f,
                                           -1.18634399e-3f, 1.13502296e-4f,  -7.66053817e-6f};
static const REAL NAMED(tail_terms)[] = {7.55285132e-1f,  -6.07896547e-1f, 3.87137219e-1f,
                                         -1.86525589e-1f, 6.03997406e-2f,  -7.50008012e-3f,
                                         -3.49685662e-3f, 1.46845722e-3f,  1.61404368e-4f};
#else
#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
#define SPLIT_BITS 27
#define LN_2_HIGH 6.93147180369123816490e-01
#define LN_2_LOW 1.90821492927058770002e-10
#define LEAST_EXPONENT -1418
#define LAST_DEVIATION 53.25
#define TANH_IS_1 20
static const REAL NAMED(exp_terms)[] = {
    5.0000000000000011e-1, 1.6666666666666668e-1, 4.166666666662068e-2,  8.3333333333297967e-3, 1.3888888918918906e-3,
    1.9841269864364932e-4, 2.4801518672268354e-5, 2.7557266442353425e-6, 2.7621324269313686e-7, 2.5101335854788522e-8};
static const REAL NAMED(tanh_terms)[] = {-3.3333333333333333e-1, 1.3333333333332715e-1,  -5.3968253967434015e-2,
                                         2.1869488493666942e-2,  -8.8632343978143548e-3, 3.5921103786890239e-3,
                                         -1.455661830100716e-3,  5.8893605200740578e-4,  -2.3463474108872371e-4,
                                         8.5113136855776715e-5,  -2.0602765376366342e-5};
static const REAL NAMED(middle_terms)[] = {3.9894228040143268e-1,   -6.6490380066905426e-2, 9.973557010035022e-3,
                                           -1.1873282154680344e-3,  1.1543468751655942e-4,  -9.4446557931038458e-6,
                                           6.6596798796552313e-7,   -4.1224107514160814e-8, 2.2704137585676e-9,
                                           -1.1064328282755891e-10, 4.0743269774266275e-12};
static const REAL NAMED(tail_terms)[] = {7.5528513041575149e-1,  -6.0789664197189225e-1, 3.8713740074221432e-1,
                                         -1.865218579596354e-1,  6.0396574890952385e-2,  -7.540188967704907e-3,
                                         -3.4796923676989853e-3, 1.6308184775829211e-3,  1.3334431252169867e-4,
                                         -2.3109515837403945e-4, -1.9082028381356421e-6, 3.5146164935738898e-5,
                                         7.1597099739586177e-7,  -5.9261676000077476e-6, -6.2570604969747888e-7,
                                         1.0362159009177221e-6,  2.5944032708531073e-7,  -1.7510425897688633e-7,
                                         -6.4995778241006113e-8, 2.6018366889418071e-8,  4.3622133915174225e-9};
#endif
#define LANE __typeof__((NAMED(lane_index)){0}[0])
#define SIGN_BIT ((LANE)1 << (REAL_BYTES * 8 - 1))
#define TERMS(array) ((int)(sizeof(array) / sizeof *(array)))

#if REAL_BYTES == 4
typedef uint32_t NAMED(lane_bits) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef uint64_t NAMED(lane_bits) __attribute__((vector_size(VECTOR_BYTES)));
#endif

/* The same in all lanes; of -0 it is -0. */
ALWAYS_INLINE NAMED(vector) NAMED(splat)(REAL x) { return x - (NAMED(vector)){0}; }

ALWAYS_INLINE NAMED(vector) NAMED(where)(NAMED(lane_index) mask, NAMED(vector) yes, NAMED(vector) no) {
    return (NAMED(vector))((mask & (NAMED(lane_index))yes) | (~mask & (NAMED(lane_index))no));
}

/* The larger, the smaller number; NaN stays NaN, and -0 beside a limit of 0 stays -0. */
ALWAYS_INLINE NAMED(vector) NAMED(at_least)(NAMED(vector) low, NAMED(vector) x) {
    return NAMED(where)(x < low, low, x);
}
ALWAYS_INLINE NAMED(vector) NAMED(at_most)(NAMED(vector) high, NAMED(vector) x) {
    return NAMED(where)(x > high, high, x);
}

ALWAYS_INLINE NAMED(vector) NAMED(magnitude)(NAMED(vector) x) {
    return (NAMED(vector))((NAMED(lane_index))x & ~SIGN_BIT);
}

/* terms[0] + terms[1] x + terms[2] x^2 + ... */
ALWAYS_INLINE NAMED(vector) NAMED(polynomial)(const REAL *terms, const int count, NAMED(vector) x) {
    NAMED(vector) sum = NAMED(splat)(terms[count - 1]);
#pragma GCC unroll 32
    for (int i = count - 2; i >= 0; i--) sum = sum * x + terms[i];
    return sum;
}

/* n and exp(r) - 1 for x + low = n ln 2 + r, where x is a number of so few bits that x - n LN_2_HIGH is exact, or low
 * is 0. */
ALWAYS_INLINE NAMED(vector) NAMED(exp_parts)(NAMED(vector) x, NAMED(vector) low, NAMED(lane_index) *n) {
    const NAMED(vector) round = NAMED(splat)((REAL)1.5 * ((int64_t)1 << FRACTION_BITS));
    const NAMED(vector) shifted = (x + low) * (REAL)1.4426950408889634074 + round, whole = shifted - round;
    const NAMED(vector) r = x - whole * LN_2_HIGH - whole * LN_2_LOW + low;
    *n = (NAMED(lane_index))shifted - (NAMED(lane_index))round;
    return r + r * r * NAMED(polynomial)(NAMED(exp_terms), TERMS(NAMED(exp_terms)), r);
}

/* 2^n as a product of two, for -2 EXPONENT_BIAS <= n <= 0: a result below the normal numbers is rounded once. */
typedef struct {
    NAMED(vector) first, second;
} NAMED(power_t);

ALWAYS_INLINE NAMED(power_t) NAMED(power_of_two)(NAMED(lane_index) n) {
    const NAMED(lane_bits) twice = (NAMED(lane_bits))(n + 2 * EXPONENT_BIAS), half = twice >> 1;
    return (NAMED(power_t)){(NAMED(vector))(half << FRACTION_BITS), (NAMED(vector))((twice - half) << FRACTION_BITS)};
}

/* The same where the mask is set, elsewhere 1. */
ALWAYS_INLINE NAMED(power_t) NAMED(power_where)(NAMED(lane_index) mask, NAMED(power_t) power) {
    const NAMED(vector) one = NAMED(splat)(1);
    return (NAMED(power_t)){NAMED(where)(mask, power.first, one), NAMED(where)(mask, power.second, one)};
}

/* x + x^3 h(x^2) up to where the result is a half, from there on 1 - 2 / (exp(2 |x|) + 1). */
ALWAYS_INLINE NAMED(vector) NAMED(tanh)(NAMED(vector) x) {
    const NAMED(vector) size = NAMED(magnitude)(x), square = x * x;
    const NAMED(vector) near = x + x * square * NAMED(polynomial)(NAMED(tanh_terms), TERMS(NAMED(tanh_terms)), square);
    NAMED(lane_index) n;
    const NAMED(vector) part =
        NAMED(exp_parts)(2 * NAMED(at_most)(NAMED(splat)(TANH_IS_1), size), (NAMED(vector)){0}, &n);
    const NAMED(vector) power = (NAMED(vector))((n + EXPONENT_BIAS) << FRACTION_BITS);
    const NAMED(vector) far = 1 - 2 / (part * power + (power + 1));
    const NAMED(vector) result = NAMED(where)(size < (REAL)0.55, near, far);
    return (NAMED(vector))((NAMED(lane_index))result | ((NAMED(lane_index))x & SIGN_BIT));
}

/* factor / (1 + exp(-x)); `factor` is 1 or x. */
ALWAYS_INLINE NAMED(vector) NAMED(times_logistic)(NAMED(vector) factor, NAMED(vector) x) {
    const NAMED(vector) below = NAMED(at_least)(NAMED(splat)(LEAST_EXPONENT), -NAMED(magnitude)(x));
    const NAMED(lane_index) is_negative = x < 0;
    NAMED(lane_index) n;
    const NAMED(vector) part = 1 + NAMED(exp_parts)(below, (NAMED(vector)){0}, &n);
    const NAMED(power_t) power = NAMED(power_of_two)(n), last = NAMED(power_where)(is_negative, power);
    const NAMED(vector) over = factor * last.first * NAMED(where)(is_negative, part, NAMED(splat)(1));
    return over / (1 + part * power.first * power.second) * last.second;
}

/* factor * (the normal distribution at x); `factor` is 1 or x. */
ALWAYS_INLINE NAMED(vector) NAMED(times_normal)(NAMED(vector) factor, NAMED(vector) x) {
    const NAMED(vector) t = NAMED(at_most)(NAMED(splat)(LAST_DEVIATION), NAMED(magnitude)(x)), square = t * t;
    const NAMED(lane_index) is_middle = t < 1, is_tail = ~is_middle & (x < 0);
    const NAMED(vector) middle =
        (REAL)0.5 + x * NAMED(polynomial)(NAMED(middle_terms), TERMS(NAMED(middle_terms)), square);
    /* exp(-t^2 / 2), from the exact square of the high part of t. */
    const NAMED(vector) high = (NAMED(vector))((NAMED(lane_index))t & -((LANE)1 << SPLIT_BITS));
    NAMED(lane_index) n;
    const NAMED(vector) part = 1 + NAMED(exp_parts)(high * high * (REAL)-0.5, (t - high) * (t + high) * (REAL)-0.5, &n);
    const NAMED(power_t) power = NAMED(power_of_two)(n), last = NAMED(power_where)(is_tail, power);
    /* exp(t^2 / 2) times the tail beyond t is g(s) / (t + 4), s = (t - 4) / (t + 4). */
    const NAMED(vector) inverse = 1 / (t + 4), s = (t - 4) * inverse;
    const NAMED(vector) tail = part * (NAMED(polynomial)(NAMED(tail_terms), TERMS(NAMED(tail_terms)), s) * inverse);
    const NAMED(vector) far = NAMED(where)(is_tail, tail, 1 - tail * power.first * power.second);
    return factor * last.first * NAMED(where)(is_middle, middle, far) * last.second;
}

#undef FRACTION_BITS
#undef EXPONENT_BIAS
#undef SPLIT_BITS
#undef LN_2_HIGH
#undef LN_2_LOW
#undef LEAST_EXPONENT
#undef LAST_DEVIATION
#undef TANH_IS_1
#undef LANE
#undef SIGN_BIT
#undef TERMS
