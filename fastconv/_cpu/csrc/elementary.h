/* Elementary functions on vectors of REAL, included once per type behind vector.h: tanh, the logistic function, silu
 * and gelu, which are products with the logistic function and with the normal distribution.
 *
 * Numerics: exp(x) = 2^n exp(r), x = n ln 2 + r, |r| <= ln(2) / 2. exp(r) - 1 = r + r^2 q(r) is multiplied by 2^n
 * before 1 is added to it, so that the sum is rounded once or nearly so. Where a function would round more often than
 * its result bears, the larger term is kept as two numbers. The polynomials are interpolated at Chebyshev's points. All
 * results are within 2 units in the last place (tests/test_activations.py), also where they are tiny or subnormal. NaN
 * stays NaN, -0 keeps its sign, and nothing overflows on its way to a finite result. */
#include "select.h"

#if REAL_BYTES == 4
#define FRACTION_BITS 23
#define EXPONENT_BIAS 127
#define SPLIT_BITS 14 /* without so many of its low bits a number's square has 4 to spare */
#define LN_2_HIGH 0.693359375f
#define LN_2_LOW -2.1219444e-4f
#define SCALE 64            /* so many powers of two keep what is tiny among the normal numbers until it is rounded */
#define SCALED_ONE 0x1p-64f /* 2^-SCALE */
#define LOGISTIC_IS_0 -112  /* up to here it is 0, also times x */
#define LOGISTIC_IS_1 30    /* from here on */
#define TANH_IS_1 10
#define NORMAL_IS_1 15
#define DENSITY_AT_0_LOW -7.30771961e-3f /* 1 / sqrt(2 pi) - 13 / 32 */
static const REAL NAMED(exp_terms)[] = {5.0e-1f, 1.66665734e-1f, 4.16665502e-2f, 8.36376702e-3f, 1.39269181e-3f};
static const REAL NAMED(tanh_terms)[] = {-3.3333332e-1f, 1.33331137e-1f, -5.39094288e-2f, 2.13093887e-2f,
                                         -6.61022783e-3f};
static const REAL NAMED(middle_terms)[] = {-6.6490379e-2f, 9.97350112e-3f, -1.18687817e-3f, 1.14156113e-4f,
                                           -7.93549633e-6f};
static const REAL NAMED(tail_terms)[] = {3.64541858e-1f,  -1.32291791e-8f, 1.09875872e-1f, -1.39657153e-1f,
                                         9.13764869e-2f,  -2.88621765e-2f, -1.7335028e-3f, 3.98955206e-3f,
                                         -6.88836375e-5f, -5.91965884e-4f, 6.03649786e-5f};
#else
#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
#define SPLIT_BITS 29
#define LN_2_HIGH 6.93147180369123816490e-01
#define LN_2_LOW 1.90821492927058770002e-10
#define SCALE 512
#define SCALED_ONE 0x1p-512
#define LOGISTIC_IS_0 -760
#define LOGISTIC_IS_1 40
#define TANH_IS_1 20
#define NORMAL_IS_1 39.5
#define DENSITY_AT_0_LOW -7.3077195985673220600e-3
static const REAL NAMED(exp_terms)[] = {
    5.0000000000000011e-1, 1.6666666666666668e-1, 4.166666666662068e-2,  8.3333333333297967e-3, 1.3888888918918906e-3,
    1.9841269864364932e-4, 2.4801518672268354e-5, 2.7557266442353425e-6, 2.7621324269313686e-7, 2.5101335854788522e-8};
static const REAL NAMED(tanh_terms)[] = {-3.3333333333333333e-1, 1.3333333333332715e-1,  -5.3968253967434015e-2,
                                         2.1869488493666942e-2,  -8.8632343978143548e-3, 3.5921103786890239e-3,
                                         -1.455661830100716e-3,  5.8893605200740578e-4,  -2.3463474108872371e-4,
                                         8.5113136855776715e-5,  -2.0602765376366342e-5};
static const REAL NAMED(middle_terms)[] = {-6.6490380066905446e-2, 9.97355701003575e-3,    -1.1873282154782439e-3,
                                           1.1543468758780862e-4,  -9.4446560747072971e-6, 6.6596865865929356e-7,
                                           -4.1225088618028092e-8, 2.2712759427919363e-9,  -1.1106081839615823e-10,
                                           4.1599438701004791e-12};
static const REAL NAMED(tail_terms)[] = {
    3.6454184506668652e-1,  -2.3802599490825292e-17, 1.0987585410794189e-1,  -1.3965713097144159e-1,
    9.1377347415793943e-2,  -2.8862946083297325e-2,  -1.7451228901803063e-3, 4.0001067559599825e-3,
    -9.1182163250119009e-6, -6.512020947190171e-4,   -5.1089888875307157e-5, 1.1660453727697967e-4,
    3.2777957923177762e-5,  -1.6971181156567594e-5,  -1.2071729066996796e-5, 5.70076553757941e-8,
    2.8395443612144336e-6,  1.2152751938403466e-6,   -1.078765155380081e-7,  -6.9847838412382311e-7,
    -1.7692487183014011e-7, 3.5712089406449531e-7,   -8.8051918652395751e-8};
#endif
#define LANE __typeof__((NAMED(lane_index)){0}[0])
#define SIGN_BIT ((LANE)1 << (REAL_BYTES * 8 - 1))
#define TERMS(array) ((int)(sizeof(array) / sizeof *(array)))

ALWAYS_INLINE NAMED(vector) NAMED(magnitude)(NAMED(vector) x) {
    return (NAMED(vector))((NAMED(lane_index))x & ~SIGN_BIT);
}

/* What is positive, or has the sign of x or is 0, with that sign. */
ALWAYS_INLINE NAMED(vector) NAMED(signed_as)(NAMED(vector) x, NAMED(vector) y) {
    return (NAMED(vector))((NAMED(lane_index))y | ((NAMED(lane_index))x & SIGN_BIT));
}

/* terms[0] + terms[1] x + terms[2] x^2 + ... */
ALWAYS_INLINE NAMED(vector) NAMED(polynomial)(const REAL *terms, const int count, NAMED(vector) x) {
    NAMED(vector) sum = NAMED(splat)(terms[count - 1]);
#pragma GCC unroll 32
    for (int i = count - 2; i >= 0; i--) sum = sum * x + terms[i];
    return sum;
}

/* The integer n next to x / ln 2, and 2^(n + scale) by its bits. */
ALWAYS_INLINE NAMED(vector) NAMED(nearest_power)(NAMED(vector) x, const int scale, NAMED(vector) *power) {
    const NAMED(vector) round = NAMED(splat)((REAL)1.5 * ((int64_t)1 << FRACTION_BITS) + (EXPONENT_BIAS + scale));
    const NAMED(vector) shifted = x * (REAL)1.4426950408889634074 + round;
    *power = (NAMED(vector))((NAMED(lane_index))shifted << FRACTION_BITS);
    return shifted - round;
}

/* r = x - n ln 2; exact but for one rounding where x has few enough bits that x - n LN_2_HIGH is. */
ALWAYS_INLINE NAMED(vector) NAMED(reduced)(NAMED(vector) x, NAMED(vector) n) {
    return x - n * LN_2_HIGH - n * LN_2_LOW;
}

/* exp(r) - 1 */
ALWAYS_INLINE NAMED(vector) NAMED(exp_minus_1)(NAMED(vector) r) {
    return r + r * r * NAMED(polynomial)(NAMED(exp_terms), TERMS(NAMED(exp_terms)), r);
}

/* x + x^3 h(x^2) up to where the result is a half, from there on 1 - 2 / (exp(2 |x|) + 1), for which ln 2 is exact
 * enough as one number. */
ALWAYS_INLINE NAMED(vector) NAMED(tanh)(NAMED(vector) x) {
    const NAMED(vector) size = NAMED(magnitude)(x), square = x * x;
    const NAMED(vector) near =
        size + size * square * NAMED(polynomial)(NAMED(tanh_terms), TERMS(NAMED(tanh_terms)), square);
    const NAMED(vector) twice = 2 * NAMED(at_most)(NAMED(splat)(TANH_IS_1), size);
    NAMED(vector) power;
    const NAMED(vector) n = NAMED(nearest_power)(twice, 0, &power);
    const NAMED(vector) part = NAMED(exp_minus_1)(twice - n * (REAL)0.69314718055994530942);
    const NAMED(vector) far = 1 - NAMED(quotient)(NAMED(splat)(2), power * part + (power + 1));
    return NAMED(signed_as)(x, NAMED(where_less)(size, NAMED(splat)((REAL)0.55), near, far));
}

/* 2^-SCALE (1 + exp(-x)), LOGISTIC_IS_0 <= x <= LOGISTIC_IS_1: a normal number, as is its reciprocal. 1 and 2^n are
 * added apart, the larger one last: 1 + 2^n has a bit too many where it matters most. */
ALWAYS_INLINE NAMED(vector) NAMED(logistic_divisor)(NAMED(vector) x) {
    NAMED(vector) power;
    const NAMED(vector) n = NAMED(nearest_power)(-x, -SCALE, &power);
    const NAMED(vector) one = NAMED(splat)(SCALED_ONE);
    const NAMED(vector) less = power * NAMED(exp_minus_1)(NAMED(reduced)(-x, n)) + NAMED(at_most)(one, power);
    return less + NAMED(at_least)(one, power);
}

/* 1 / (1 + exp(-x)) */
ALWAYS_INLINE NAMED(vector) NAMED(sigmoid)(NAMED(vector) x) {
    const NAMED(vector) low = NAMED(splat)(LOGISTIC_IS_0), high = NAMED(splat)(LOGISTIC_IS_1);
    const NAMED(vector) divisor = NAMED(logistic_divisor)(NAMED(at_least)(low, NAMED(at_most)(high, x)));
    return NAMED(quotient)(NAMED(splat)(1), divisor) * SCALED_ONE;
}

/* x / (1 + exp(-x)); of minus infinity NaN, as that product is: the difference is 0 of all other numbers. */
ALWAYS_INLINE NAMED(vector) NAMED(silu)(NAMED(vector) x) {
    const NAMED(vector) low = NAMED(splat)(LOGISTIC_IS_0), high = NAMED(splat)(LOGISTIC_IS_1);
    const NAMED(vector) inner = NAMED(at_least)(low, NAMED(at_most)(high, x));
    return NAMED(where_less)(high, x, x, NAMED(quotient)(inner, NAMED(logistic_divisor)(inner)) * SCALED_ONE - (x - x));
}

/* x times the normal distribution at x, which is max(x, 0) - t times the distribution at -t, t = |x|.
 *
 * Below 1: x / 2 + x^2 / sqrt(2 pi) + x^4 q(x^2), of which x / 2 + 13/32 high^2 is exact but for one rounding. From 1
 * on it is exp(-t^2 / 2) times a function of s = (t - 3) / (t + 3), computed as the sum of two numbers. Of minus
 * infinity it is NaN, as silu is. */
ALWAYS_INLINE NAMED(vector) NAMED(gelu)(NAMED(vector) x) {
    const NAMED(vector) size = NAMED(magnitude)(x), t = NAMED(at_most)(NAMED(splat)(NORMAL_IS_1), size);
    const NAMED(vector) high = (NAMED(vector))((NAMED(lane_index))t & -((LANE)1 << SPLIT_BITS));
    const NAMED(vector) low_square = (t - high) * (t + high), high_square = high * high, square = t * t;
    const NAMED(vector) fourth = NAMED(polynomial)(NAMED(middle_terms), TERMS(NAMED(middle_terms)), square);
    const NAMED(vector) rest =
        low_square * (REAL)0.39894228040143267794 + (high_square * (REAL)DENSITY_AT_0_LOW + square * square * fourth);
    const NAMED(vector) middle = x * (REAL)0.5 + high_square * (REAL)(13.0 / 32) + rest;

    NAMED(vector) power;
    const NAMED(vector) n = NAMED(nearest_power)((high_square + low_square) * (REAL)-0.5, SCALE, &power);
    const NAMED(vector) part =
        NAMED(exp_minus_1)(NAMED(reduced)(high_square * (REAL)-0.5, n) + low_square * (REAL)-0.5);
    const NAMED(vector) s = NAMED(quotient)(t - 3, t + 3);
    const NAMED(vector) most = NAMED(splat)(*NAMED(tail_terms));
    const NAMED(vector) small = NAMED(polynomial)(NAMED(tail_terms) + 1, TERMS(NAMED(tail_terms)) - 1, s);
    const NAMED(vector) sum = most + small, lost = small - (sum - most);
    const NAMED(vector) tail = (sum + (sum * part + (lost * part + lost))) * power * SCALED_ONE;
    const NAMED(vector) zero = {0}, negative = NAMED(at_most)(zero, x);
    const NAMED(vector) far = NAMED(at_least)(zero, x) - tail - (negative - negative);
    return NAMED(signed_as)(x, NAMED(where_less)(size, NAMED(splat)(1), middle, far));
}

#undef FRACTION_BITS
#undef EXPONENT_BIAS
#undef SPLIT_BITS
#undef LN_2_HIGH
#undef LN_2_LOW
#undef SCALE
#undef SCALED_ONE
#undef LOGISTIC_IS_0
#undef LOGISTIC_IS_1
#undef TANH_IS_1
#undef NORMAL_IS_1
#undef DENSITY_AT_0_LOW
#undef LANE
#undef SIGN_BIT
#undef TERMS
