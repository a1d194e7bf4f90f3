// Products of tiles in shared memory by mma.sync, and what is done with their sums.
//
// A warp computes 16 MT rows x 8 NT columns. Lane l, g = l / 4, t = l % 4, C = LANE_COLUMNS: its sums of rows
// g 2 MT + (0 .. 2 MT - 1) and of columns (4 j + t) C + (0 .. C - 1) are neighbours; that of row 2 i + f and column p
// is sum[i][j C / 2 + p / 2][2 f + p % 2]. ROWS_APART 8: rows are g + 8 (2 i + f) instead, as products have them.
#define SINGLY 0
#define COLUMNS 1
#define ROWS 2
#define SIZE ((int)sizeof(fc_element))
#define CHUNK (16 / SIZE)
#define DEPTH (2 * CHUNK) // of one product
#define PIECES (PRODUCTS == 3 ? 2 : 1)
#ifndef LANE_COLUMNS
#define LANE_COLUMNS 4
#endif
#ifndef ROWS_APART
#define ROWS_APART 1 // a lane's
#endif
#define OUTSIDE ((offset_t)1 << (8 * sizeof(offset_t) - 1)) // an offset that no element has

#if WIDE
typedef long long offset_t;
#else
typedef int offset_t;
#endif
#if OF_SUMS
typedef fc_sum fc_result; // of a split, or of arrays with wider results
#else
typedef fc_element fc_result;
#endif

// PRODUCTS 1: the nearest tf32. PRODUCTS 3: x = large + small, whose last two bits tensor cores do not look at.
// Infinities have no such sum: what comes of them is NaN.
static __device__ __forceinline__ void fc_split_tf32(float x, fc_u32 &large, fc_u32 &small) {
#if PRODUCTS == 3
    large = __float_as_uint(x) & 0xffffe000u;
    small = __float_as_uint(fc_plus(x, __uint_as_float(large ^ 0x80000000u)));
#else
    large = small = fc_to_tf32(x);
#endif
}

// A unit of shared memory: 16 bytes of neighbouring channels, by their bits.
static __device__ __forceinline__ uint4 fc_unit(const fc_u32 (&x)[CHUNK]) {
#if ELEMENT == FLOAT32
    return make_uint4(x[0], x[1], x[2], x[3]);
#elif ELEMENT == INT8
    fc_u32 word[4];
#pragma unroll
    for (int i = 0; i < 4; i++) word[i] = x[4 * i] | x[4 * i + 1] << 8 | x[4 * i + 2] << 16 | x[4 * i + 3] << 24;
    return make_uint4(word[0], word[1], word[2], word[3]);
#else
    return make_uint4(x[0] | x[1] << 16, x[2] | x[3] << 16, x[4] | x[5] << 16, x[6] | x[7] << 16);
#endif
}

static __device__ __forceinline__ void fc_mma(fc_sum (&c)[4], const fc_u32 (&a)[4], fc_u32 b0, fc_u32 b1) {
#if ELEMENT == FLOAT32
    fc_mma_tf32(c, a, b0, b1);
#elif ELEMENT == FLOAT16
    fc_mma_f16(c, a, b0, b1);
#elif ELEMENT == INT8
    fc_mma_bytes<WEIGHT_SIGNED, SOURCE_SIGNED>(c, a, b0, b1);
#else
    fc_mma_bf16(c, a, b0, b1);
#endif
}

// The sums of a tile of 8 columns, whose fragment b holds, for all rows.
static __device__ __forceinline__ void fc_multiply(fc_sum (&sum)[MT][NT][4], int j, const fc_u32 (&a)[PIECES][MT][4],
                                                   const fc_u32 (&b)[2]) {
    fc_u32 large[2] = {b[0], b[1]}, small[2];
#pragma unroll
    for (int e = 0; e < 2; e++)
        if (ELEMENT == FLOAT32) fc_split_tf32(__uint_as_float(b[e]), large[e], small[e]);
    if (PRODUCTS == 3) { // the small ones first
#pragma unroll
        for (int i = 0; i < MT; i++) fc_mma(sum[i][j], a[0][i], small[0], small[1]);
#pragma unroll
        for (int i = 0; i < MT; i++) fc_mma(sum[i][j], a[PIECES - 1][i], large[0], large[1]);
    }
#pragma unroll
    for (int i = 0; i < MT; i++) fc_mma(sum[i][j], a[0][i], large[0], large[1]);
}
static __device__ __forceinline__ void fc_multiply_pair(fc_sum (&sum)[MT][NT][4], int j,
                                                        const fc_u32 (&a)[PIECES][MT][4], const fc_u32 (&b)[4]) {
    const fc_u32 even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
    fc_multiply(sum, 2 * j, a, even);
    fc_multiply(sum, 2 * j + 1, a, odd);
}

// The sums of a step to those before; PRODUCTS 1: they are the same.
static __device__ __forceinline__ void fc_add_step(fc_sum (&sum)[MT][NT][4], const fc_sum (&part)[MT][NT][4]) {
#if PRODUCTS == 3
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][j][e] = fc_plus(sum[i][j][e], part[i][j][e]);
#endif
}

// Whether a sum of the block is not finite, as a byte at the block's number.
static __device__ __forceinline__ void fc_mark(const fc_sum (&sum)[MT][NT][4], unsigned char *marks) {
    fc_sum zero = 0;
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) zero = fc_fma(sum[i][j][e], (fc_sum)0, zero);
    const bool spoiled = __syncthreads_or(zero != 0);
    if (!threadIdx.x) marks[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = spoiled;
}

// -- results

// Where results go: a row's number times `stride`, and a table of the columns.
struct fc_place {
    fc_result *to;
    offset_t stride;
    const fc_element *bias, *add;
    offset_t add_stride;
    fc_sum slope;
};

#if ELEMENT == INT8
typedef int2 fc_sum2;
typedef int4 fc_sum4;
#else
typedef float2 fc_sum2;
typedef float4 fc_sum4;
#endif

template <int V> static __device__ __forceinline__ void fc_put(fc_result *to, const fc_sum (&z)[V]) {
#if !OF_SUMS || ELEMENT == FLOAT32
    fc_store<V>(to, z);
#else
    if constexpr (V == 4)
        *(fc_sum4 *)to = {z[0], z[1], z[2], z[3]};
    else if constexpr (V == 2)
        *(fc_sum2 *)to = {z[0], z[1]};
    else
        *to = z[0];
#endif
}

// V results from row f and column p of the lane's on, along rows or along columns.
template <int V>
static __device__ __forceinline__ void fc_finish(fc_sum (&z)[V], const fc_place &place, int f, offset_t at,
                                                 offset_t add_at, const fc_sum *bias) {
    if (HAS_ADD) {
        fc_sum add[V];
        fc_load<V>(place.add + (add_at + f * place.add_stride), add);
#pragma unroll
        for (int e = 0; e < V; e++)
            z[e] = fc_plus(HAS_BIAS ? fc_plus(z[e], bias[V > 1 && STORED == ROWS ? e : 0]) : z[e], add[e]);
    } else if (HAS_BIAS) {
#pragma unroll
        for (int e = 0; e < V; e++) z[e] = fc_plus(z[e], bias[V > 1 && STORED == ROWS ? e : 0]);
    }
#pragma unroll
    for (int e = 0; e < V; e++) z[e] = fc_activate(z[e], place.slope);
    fc_put<V>(place.to + (at + f * place.stride), z);
}

// Stores the lane's sums; `place` begins with its first row, of `rows` that there are, the tables with its first
// column. STORED: vectors of LANE_COLUMNS along COLUMNS (pixels), of four along ROWS (channels), or SINGLY.
static __device__ __forceinline__ void fc_store_tile(fc_sum (&sum)[MT][NT][4], const fc_place &place, int rows,
                                                     const offset_t *result_at, const offset_t *add_at) {
    constexpr int ALONG_ROWS = STORED == ROWS ? 4 : 1, ALONG_COLUMNS = STORED == COLUMNS ? LANE_COLUMNS : 1;
    fc_sum bias[2 * MT];
#pragma unroll
    for (int f = 0; f < 2 * MT; f++) bias[f] = HAS_BIAS && f * ROWS_APART < rows ? fc_widen(place.bias[f * ROWS_APART]) : 0;
#pragma unroll
    for (int j = 0; j < 2 * NT / LANE_COLUMNS; j++)
#pragma unroll
        for (int p = 0; p < LANE_COLUMNS; p += ALONG_COLUMNS) {
            const int column = 4 * LANE_COLUMNS * j + p;
            const offset_t at = result_at[column], more_at = HAS_ADD ? add_at[column] : 0;
            if (at == OUTSIDE) continue;
#pragma unroll
            for (int f = 0; f < 2 * MT; f += ALONG_ROWS) {
                if (f * ROWS_APART >= rows) break;
                fc_sum z[ALONG_ROWS * ALONG_COLUMNS];
#pragma unroll
                for (int e = 0; e < ALONG_ROWS * ALONG_COLUMNS; e++) {
                    const int y = f + e % ALONG_ROWS, x = p + e / ALONG_ROWS;
                    z[e] = sum[y / 2][LANE_COLUMNS / 2 * j + x / 2][y % 2 * 2 + x % 2];
                }
                fc_finish(z, place, f * ROWS_APART, at, more_at, bias + f);
            }
        }
}
