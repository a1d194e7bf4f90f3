/* The transforms of Winograd's minimal filtering, one axis at a time, on vectors of channels.
 *
 *     y = A^T [ (G g) * (B^T d) ],    d: t points, g: r taps, y: m = t - r + 1 results
 *
 * Interpolation points 0, +-1, infinity for t = 4 and 0, +-sqrt(1/2), +-sqrt(2), infinity for t = 6, without infinity
 * for t = 5: B depends on the points alone, A on m, G on r. Row j of G is p_j^k / N_j, column j of A^T p_j^i, with
 * infinity giving the highest power. Winograd, Arithmetic Complexity of Computations, SIAM 1980; Lavin and Gray,
 * arXiv:1509.09308; these points have a quarter of the error of 0, +-1, +-2: Barabasz et al., ACM TOMS 46 (2020). t = 1
 * is the identity.
 *
 * Numerics: with t = 4 and r = 3 integers stay exact (quarters appear in G alone). */
#define WINOGRAD_MOST_POINTS 6
#define WINOGRAD_MOST_TAPS 25 /* of a kernel of two axes */

/* Squares of the points of t = 5 and 6; their product is 1. */
#define SMALL_SQUARE ((REAL)0.5)
#define LARGE_SQUARE ((REAL)2)
#define SMALL_POINT ((REAL)0.70710678118654752440)
#define LARGE_POINT ((REAL)1.41421356237309504880)

/* o = B^T d. */
ALWAYS_INLINE void NAMED(transform_source)(const int points, const NAMED(vector) *d, NAMED(vector) *o) {
    if (points == 1) {
        o[0] = d[0];
    } else if (points == 4) {
        o[0] = d[0] - d[2];
        o[1] = d[1] + d[2];
        o[2] = d[2] - d[1];
        o[3] = d[3] - d[1];
    } else {
        NAMED(vector) small_even = d[4] - LARGE_SQUARE * d[2], small_odd = SMALL_POINT * (d[3] - LARGE_SQUARE * d[1]);
        NAMED(vector) large_even = d[4] - SMALL_SQUARE * d[2], large_odd = LARGE_POINT * (d[3] - SMALL_SQUARE * d[1]);
        o[0] = (d[4] + d[0]) - (SMALL_SQUARE + LARGE_SQUARE) * d[2];
        o[1] = small_even + small_odd;
        o[2] = small_even - small_odd;
        o[3] = large_even + large_odd;
        o[4] = large_even - large_odd;
        if (points == 6) o[5] = (d[5] + d[1]) - (SMALL_SQUARE + LARGE_SQUARE) * d[3];
    }
}

/* y = A^T s for `outputs` results, 2 or more and fewer than the points; 1 where there is one point. */
ALWAYS_INLINE void NAMED(transform_result)(const int points, const int outputs, const NAMED(vector) *s,
                                           NAMED(vector) *y) {
    if (points == 1) {
        y[0] = s[0];
    } else if (points == 4) {
        y[0] = s[0] + (s[1] + s[2]);
        y[1] = s[1] - s[2];
        if (outputs > 2) y[2] = s[1] + s[2];
        y[outputs - 1] += s[3];
    } else {
        NAMED(vector) small_sum = s[1] + s[2], small_difference = SMALL_POINT * (s[1] - s[2]);
        NAMED(vector) large_sum = s[3] + s[4], large_difference = LARGE_POINT * (s[3] - s[4]);
        y[0] = s[0] + (small_sum + large_sum);
        y[1] = small_difference + large_difference;
        if (outputs > 2) y[2] = SMALL_SQUARE * small_sum + LARGE_SQUARE * large_sum;
        if (outputs > 3) y[3] = SMALL_SQUARE * small_difference + LARGE_SQUARE * large_difference;
        if (outputs > 4) y[4] = SMALL_SQUARE * SMALL_SQUARE * small_sum + LARGE_SQUARE * LARGE_SQUARE * large_sum;
        if (points == 6) y[outputs - 1] += s[5];
    }
}

/* u = G g for `taps` taps. */
ALWAYS_INLINE void NAMED(transform_weight)(const int points, const int taps, const NAMED(vector) *g, NAMED(vector) *u) {
    const REAL point[WINOGRAD_MOST_POINTS] = {0, points == 4 ? 1 : SMALL_POINT, 0, LARGE_POINT};
    const REAL small_square = SMALL_SQUARE, large_square = LARGE_SQUARE;
    if (points == 1) {
        u[0] = g[0];
        return;
    }
    u[0] = g[0];
    for (int j = 1; j < points - 1; j += 2) {
        /* 1 / N_j = 1 / (2 p^2 (p^2 - q^2)), q the other point; 1 / 2 for the only pair of t = 4 */
        const REAL scale = points == 4 ? (REAL)0.5
                           : j == 1    ? 1 / (2 * small_square * (small_square - large_square))
                                       : 1 / (2 * large_square * (large_square - small_square));
        const REAL p = point[j], square = points == 4 ? 1 : j == 1 ? small_square : large_square;
        NAMED(vector) even = g[0], odd = g[1];
        if (taps > 2) even += square * g[2];
        if (taps > 3) odd += square * g[3];
        if (taps > 4) even += square * square * g[4];
        u[j] = scale * (even + p * odd);
        u[j + 1] = scale * (even - p * odd);
    }
    if (points != 5) u[points - 1] = g[taps - 1];
}
