/* Derivatives of the activations on vectors of REAL, times what comes down to them: dy * activation'(z).
 *
 * The kinks of relu and relu6 belong to their flat sides, and no dy at all, even an infinite one, passes there. Where z
 * is NaN, relu and relu6 pass dy, the others give NaN. Numerics: a few units in the last place of the derivative, or of
 * 1 where it is the difference of larger terms. */
#if REAL_BYTES == 4
#define DENSITY_IS_0 13 /* from here on, for what is added to numbers near 0 or 1 */
#define LINEAR_BELOW 1e-12f
#else
#define DENSITY_IS_0 37.5
#define LINEAR_BELOW 1e-100
#endif

/* The density of the normal distribution at x. */
ALWAYS_INLINE NAMED(vector) NAMED(normal_density)(NAMED(vector) x) {
    const NAMED(vector) zero = {0}, limit = NAMED(splat)(DENSITY_IS_0), size = NAMED(magnitude)(x);
    const NAMED(vector) t = NAMED(at_most)(limit, size), power_of_e = t * t * (REAL)-0.5;
    NAMED(vector) power;
    const NAMED(vector) n = NAMED(nearest_power)(power_of_e, 0, &power);
    const NAMED(vector) density = (power + power * NAMED(exp_minus_1)(NAMED(reduced)(power_of_e, n)));
    return NAMED(where_less)(limit, size, zero, density * (REAL)0.39894228040143267794);
}

ALWAYS_INLINE NAMED(vector)
    NAMED(sloped)(const activation_t activation, NAMED(vector) dy, NAMED(vector) z, REAL slope) {
    const NAMED(vector) zero = {0}, half = NAMED(splat)((REAL)0.5);
    switch (activation) {
    case ACTIVATION_RELU: return (NAMED(vector))((NAMED(lane_index))dy & ~(NAMED(lane_index))(z <= zero));
    case ACTIVATION_RELU6:
        return (NAMED(vector))((NAMED(lane_index))dy & ~((NAMED(lane_index))(z <= zero) | (NAMED(lane_index))(z >= 6)));
    case ACTIVATION_LEAKY_RELU: return NAMED(where_less)(zero, z, dy, dy * slope);
    case ACTIVATION_SILU: {
        const NAMED(vector) gate = NAMED(sigmoid)(z);
        return dy * (gate * (1 + z * (1 - gate)));
    }
    case ACTIVATION_GELU: {
        const NAMED(vector) below =
            NAMED(where_less)(NAMED(magnitude)(z), NAMED(splat)(LINEAR_BELOW), half, NAMED(gelu)(z) / z);
        return dy * (below + z * NAMED(normal_density)(z));
    }
    case ACTIVATION_TANH: {
        const NAMED(vector) y = NAMED(tanh)(z);
        return dy * (1 - y * y);
    }
    case ACTIVATION_SIGMOID: {
        const NAMED(vector) gate = NAMED(sigmoid)(z);
        return dy * (gate * (1 - gate));
    }
    default: return dy;
    }
}

#undef DENSITY_IS_0
#undef LINEAR_BELOW
