/* The transforms of Winograd's minimal filtering, one axis at a time, on vectors of channels.
 *
 *     y = A^T [ (G g) * (B^T d) ],    d: a tile of t points, g: r taps, y: m = t - r + 1 results
 *
 * Interpolation points 0, +-1, infinity for t = 4; +-3/8, +-5/4, infinity for t = 5; 0, +-sqrt(1/2), +-sqrt(2),
 * infinity for t = 6; 0, +-1/2, +-1, +-2, infinity for t = 8, of one axis alone: B depends on the points alone, A on m,
 * G on r. Row j of G is p_j^k / N_j, column j of A^T p_j^i, with infinity giving the highest power. Winograd,
 * Arithmetic Complexity of Computations, SIAM 1980; Lavin and Gray, arXiv:1509.09308; those of t = 6 have a quarter of
 * the error of 0, +-1, +-2: Barabasz et al., ACM TOMS 46 (2020), those of t = 5 two thirds of the error of 0,
 * +-sqrt(1/2), +-sqrt(2) (measured). t = 1 is the identity.
 *
 * Numerics: with t = 4 and r = 3 integers stay exact (quarters appear in G alone). */
#define WINOGRAD_MAX_TILE_SIZE 8
#define WINOGRAD_MAX_TAPS 36 /* of a kernel of two axes, filled up to whole phases */

/* The pairs of points of t = 6, whose squares have the product 1, and of t = 5. */
#define SMALL_SQUARE ((REAL)0.5)
#define LARGE_SQUARE ((REAL)2)
#define SMALL_POINT ((REAL)0.70710678118654752440)
#define LARGE_POINT ((REAL)1.41421356237309504880)
#define INNER_POINT ((REAL)0.375)
#define OUTER_POINT ((REAL)1.25)
#define INNER_SQUARE (INNER_POINT * INNER_POINT)
#define OUTER_SQUARE (OUTER_POINT * OUTER_POINT)
/* Those of t = 8: the points, their squares, sum and product of the squares of the other two pairs, and N_j. */
static const REAL NAMED(point_of_8)[3] = {(REAL)0.5, 1, 2};
static const REAL NAMED(square_of_8)[3] = {(REAL)0.25, 1, 4};
static const REAL NAMED(other_sum_of_8)[3] = {5, (REAL)4.25, (REAL)1.25};
static const REAL NAMED(other_product_of_8)[3] = {4, 1, (REAL)0.25};
static const REAL NAMED(norm_of_8)[3] = {(REAL)1.40625, (REAL)-4.5, 90};
#define SQUARES_OF_8 ((REAL)5.25) /* their sum; that of their products by twos is the same, of all 1 */

/* o = B^T d. */
ALWAYS_INLINE void NAMED(transform_source)(const int tile_size, const NAMED(vector) *d, NAMED(vector) *o) {
    if (tile_size == 1) {
        o[0] = d[0];
    } else if (tile_size == 4) {
        o[0] = d[0] - d[2];
        o[1] = d[1] + d[2];
        o[2] = d[2] - d[1];
        o[3] = d[3] - d[1];
    } else if (tile_size == 5) {
        NAMED(vector) inner_odd = d[3] - OUTER_SQUARE * d[1], inner_even = INNER_POINT * (d[2] - OUTER_SQUARE * d[0]);
        NAMED(vector) outer_odd = d[3] - INNER_SQUARE * d[1], outer_even = OUTER_POINT * (d[2] - INNER_SQUARE * d[0]);
        o[0] = inner_odd + inner_even;
        o[1] = inner_odd - inner_even;
        o[2] = outer_odd + outer_even;
        o[3] = outer_odd - outer_even;
        o[4] = d[4] - (INNER_SQUARE + OUTER_SQUARE) * d[2] + INNER_SQUARE * OUTER_SQUARE * d[0];
    } else if (tile_size == 8) {
        o[0] = (d[0] - d[6]) + SQUARES_OF_8 * (d[4] - d[2]);
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            const REAL sum = NAMED(other_sum_of_8)[k], product = NAMED(other_product_of_8)[k];
            const NAMED(vector) even = d[6] - sum * d[4] + product * d[2];
            const NAMED(vector) odd = NAMED(point_of_8)[k] * (d[5] - sum * d[3] + product * d[1]);
            o[1 + 2 * k] = even + odd;
            o[2 + 2 * k] = even - odd;
        }
        o[7] = (d[7] - d[1]) + SQUARES_OF_8 * (d[3] - d[5]);
    } else {
        NAMED(vector) small_even = d[4] - LARGE_SQUARE * d[2], small_odd = SMALL_POINT * (d[3] - LARGE_SQUARE * d[1]);
        NAMED(vector) large_even = d[4] - SMALL_SQUARE * d[2], large_odd = LARGE_POINT * (d[3] - SMALL_SQUARE * d[1]);
        o[0] = (d[4] + d[0]) - (SMALL_SQUARE + LARGE_SQUARE) * d[2];
        o[1] = small_even + small_odd;
        o[2] = small_even - small_odd;
        o[3] = large_even + large_odd;
        o[4] = large_even - large_odd;
        o[5] = (d[5] + d[1]) - (SMALL_SQUARE + LARGE_SQUARE) * d[3];
    }
}

/* y = A^T s for `outputs` results, 2 or more and fewer than the points of the tile; 1 where it has one point. */
ALWAYS_INLINE void NAMED(transform_result)(const int tile_size, const int outputs, const NAMED(vector) *s,
                                           NAMED(vector) *y) {
    if (tile_size == 1) {
        y[0] = s[0];
    } else if (tile_size == 4) {
        y[0] = s[0] + (s[1] + s[2]);
        y[1] = s[1] - s[2];
        if (outputs > 2) y[2] = s[1] + s[2];
        y[outputs - 1] += s[3];
    } else if (tile_size == 5) {
        NAMED(vector) inner_sum = s[0] + s[1], inner_difference = INNER_POINT * (s[0] - s[1]);
        NAMED(vector) outer_sum = s[2] + s[3], outer_difference = OUTER_POINT * (s[2] - s[3]);
        y[0] = inner_sum + outer_sum;
        y[1] = inner_difference + outer_difference;
        if (outputs > 2) y[2] = INNER_SQUARE * inner_sum + OUTER_SQUARE * outer_sum;
        if (outputs > 3) y[3] = INNER_SQUARE * inner_difference + OUTER_SQUARE * outer_difference;
        y[outputs - 1] += s[4];
    } else if (tile_size == 8) {
        NAMED(vector) part[2][3]; /* sums and differences of the pairs, times even powers of the points */
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            part[0][k] = s[1 + 2 * k] + s[2 + 2 * k];
            part[1][k] = NAMED(point_of_8)[k] * (s[1 + 2 * k] - s[2 + 2 * k]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < outputs; i++) {
            NAMED(vector) *of = part[i % 2];
            y[i] = of[0] + of[1] + of[2];
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++) of[k] *= NAMED(square_of_8)[k];
        }
        y[0] += s[0];
        y[outputs - 1] += s[7];
    } else {
        NAMED(vector) small_sum = s[1] + s[2], small_difference = SMALL_POINT * (s[1] - s[2]);
        NAMED(vector) large_sum = s[3] + s[4], large_difference = LARGE_POINT * (s[3] - s[4]);
        y[0] = s[0] + (small_sum + large_sum);
        y[1] = small_difference + large_difference;
        if (outputs > 2) y[2] = SMALL_SQUARE * small_sum + LARGE_SQUARE * large_sum;
        if (outputs > 3) y[3] = SMALL_SQUARE * small_difference + LARGE_SQUARE * large_difference;
        if (outputs > 4) y[4] = SMALL_SQUARE * SMALL_SQUARE * small_sum + LARGE_SQUARE * LARGE_SQUARE * large_sum;
        y[outputs - 1] += s[5];
    }
}

/* The values at a pair of points +-p of the polynomial with coefficients g: its even part, and p times the odd one. */
ALWAYS_INLINE void NAMED(evaluate_pair)(const int taps, const NAMED(vector) *g, const REAL p, const REAL square,
                                        NAMED(vector) *even, NAMED(vector) *odd) {
    *even = g[0];
    *odd = g[1];
    if (taps > 2) *even += square * g[2];
    if (taps > 3) *odd += square * g[3];
    if (taps > 4) *even += square * square * g[4];
    if (taps > 5) *odd += square * square * g[5];
    if (taps > 6) *even += square * square * square * g[6];
    *odd *= p;
}

/* u = G g for `taps` taps. N_j is 2 for t = 4, 2 p (p^2 - q^2) for t = 5 and p times that for t = 6, q the other pair;
 * for t = 8 2 p^2 (p^2 - q^2) (p^2 - r^2). */
ALWAYS_INLINE void NAMED(transform_weight)(const int tile_size, const int taps, const NAMED(vector) *g,
                                           NAMED(vector) *u) {
    NAMED(vector) even, odd;
    if (tile_size == 1) {
        u[0] = g[0];
    } else if (tile_size == 4) {
        NAMED(evaluate_pair)(taps, g, 1, 1, &even, &odd);
        u[0] = g[0];
        u[1] = (REAL)0.5 * (even + odd);
        u[2] = (REAL)0.5 * (even - odd);
        u[3] = g[taps - 1];
    } else if (tile_size == 5) {
        const REAL scale = 1 / (2 * (INNER_SQUARE - OUTER_SQUARE));
        NAMED(evaluate_pair)(taps, g, INNER_POINT, INNER_SQUARE, &even, &odd);
        u[0] = scale / INNER_POINT * (even + odd);
        u[1] = scale / INNER_POINT * (odd - even);
        NAMED(evaluate_pair)(taps, g, OUTER_POINT, OUTER_SQUARE, &even, &odd);
        u[2] = -scale / OUTER_POINT * (even + odd);
        u[3] = -scale / OUTER_POINT * (odd - even);
        u[4] = g[taps - 1];
    } else if (tile_size == 8) {
        u[0] = g[0];
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            NAMED(evaluate_pair)(taps, g, NAMED(point_of_8)[k], NAMED(square_of_8)[k], &even, &odd);
            u[1 + 2 * k] = 1 / NAMED(norm_of_8)[k] * (even + odd);
            u[2 + 2 * k] = 1 / NAMED(norm_of_8)[k] * (even - odd);
        }
        u[7] = g[taps - 1];
    } else {
        const REAL scale = 1 / (2 * (SMALL_SQUARE - LARGE_SQUARE));
        NAMED(evaluate_pair)(taps, g, SMALL_POINT, SMALL_SQUARE, &even, &odd);
        u[0] = g[0];
        u[1] = scale / SMALL_SQUARE * (even + odd);
        u[2] = scale / SMALL_SQUARE * (even - odd);
        NAMED(evaluate_pair)(taps, g, LARGE_POINT, LARGE_SQUARE, &even, &odd);
        u[3] = -scale / LARGE_SQUARE * (even + odd);
        u[4] = -scale / LARGE_SQUARE * (even - odd);
        u[5] = g[taps - 1];
    }
}
