// Kernels of one tap on planes in one piece, by mma.sync (sm_80 and later), of 16-bit floats: all directions, any groups.
//
// A product of matrices, A (M x depth) and B (depth x N). Both lie in shared memory as in memory, in rows of what is
// contiguous there, and ldmatrix transposes where that is not the depth:
//
//   forward            y[f][pixel] = sum of w[f][c] x[c][pixel]      A: rows of depth    B: rows of N
//   input gradients    x[c][pixel] = sum of w[f][c] y[f][pixel]      A: rows of M        B: rows of N
//   weight gradients   w[f][c] = sum of y[f][pixel] x[c][pixel]      A: rows of depth    B: rows of depth
//
// A_DEEP, B_DEEP: rows of depth. A_VECTOR, B_VECTOR: elements of a copy, 2, 4 or 8; all rows begin at multiples of it,
// and the sizes along them are such. IMAGES of pixels have gemm.image of them.
//
// Numerics, preconditions: see kernels.cu.
#define THREADS (32 * WARPS_M * WARPS_N)
#define BM (16 * MT * WARPS_M)
#define BN (8 * NT * WARPS_N)
#define STEPS (BK / 16)
#define SLOTS (STEPS * NT / 2) // of a step: products with two tiles of columns

// The copies of a thread into a tile of HIGH x WIDTH elements: V of each STEP-th row.
template <int HIGH, int WIDTH, int V> struct fc_copies {
    enum { LANES = WIDTH / V, STEP = THREADS / LANES, COUNT = HIGH / STEP, PITCH = WIDTH * SIZE + 16 };
    const char *from;
    offset_t apart; // bytes to the next copy
    int rows;       // that there are, from the thread's first one on
    bool there;
    static __device__ __forceinline__ int row() { return threadIdx.x / LANES; }
    static __device__ __forceinline__ int column() { return threadIdx.x % LANES * V; }
    __device__ __forceinline__ void copy(unsigned char *tile, int i) {
        fc_copy_async<V * SIZE>(tile + (row() + i * STEP) * PITCH + column() * SIZE, from,
                                there && i * STEP < rows ? V * SIZE : 0);
        from += apart;
    }
};
typedef fc_copies<A_DEEP ? BM : BK, A_DEEP ? BK : BM, A_VECTOR> fc_copies_a;
typedef fc_copies<B_DEEP ? BN : BK, B_DEEP ? BK : BN, B_VECTOR> fc_copies_b;
#define TILE_A ((A_DEEP ? BM : BK) * fc_copies_a::PITCH)
#define STAGE_BYTES (TILE_A + (B_DEEP ? BN : BK) * fc_copies_b::PITCH)
#define COPIES (fc_copies_a::COUNT + fc_copies_b::COUNT)

#if GRADIENT
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ weight, void *result, void *,
                    const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    const fc_element *bias = 0, *add = 0;
#else
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    correlate(const fc_element *__restrict__ source, const fc_element *__restrict__ weight, void *result,
              const fc_element *__restrict__ bias, const fc_element *add, const __grid_constant__ fc_correlation c,
              const __grid_constant__ fc_gemm gemm) {
#endif
    FC_DYNAMIC_SHARED(shared);
    offset_t *result_at = (offset_t *)(shared + STAGES * STAGE_BYTES), *add_at = result_at + BN; // of the columns
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, group = blockIdx.y;
    const int tile_n = fc_quotient(blockIdx.x, gemm.filter_tiles), first_n = tile_n * BN;
    const int first_m = (blockIdx.x - tile_n * gemm.filter_tiles.d) * BM;
    const int unit = GRADIENT ? 1 : BK, depth = GRADIENT ? gemm.depth : c.channels;
    const int begin = blockIdx.z * gemm.depth_of_split * unit, end = min(begin + gemm.depth_of_split * unit, depth);
    const int steps = (end - begin + BK - 1) / BK;
    for (int i = threadIdx.x; i < BN; i += THREADS) {
        const int column = first_n + i, n = fc_quotient(column, gemm.image), w = column - n * (int)gemm.image.d;
        const bool there = column < (GRADIENT && !SPLIT ? c.channels : gemm.columns);
        offset_t at = column;
        if (!SPLIT)
            at = GRADIENT ? (offset_t)(column * c.weight_stride[1])
                          : (offset_t)(n * c.result_stride[0] + w * c.result_stride[4]);
        result_at[i] = there ? at : OUTSIDE;
        if (HAS_ADD) add_at[i] = (offset_t)(n * c.add_stride[0] + w * c.add_stride[4]);
    }

    // -- copies: of the tiles' first ones in a step, whose depth begins at k
    fc_copies_a a;
    fc_copies_b b;
    const int a_row = fc_copies_a::row(), a_column = fc_copies_a::column();
    const int b_row = fc_copies_b::row(), b_column = fc_copies_b::column();
    auto pixel_at = [&](int pixel, const long long(&stride)[5]) {
        const int n = fc_quotient(pixel, gemm.image);
        return (offset_t)(n * stride[0]) + (pixel - n * (int)gemm.image.d);
    };
    // A: the first element of its rows; of weights one more stride leads from one depth to the next.
    const offset_t a_stride = (offset_t)(GRADIENT ? c.result_stride[1] : c.weight_stride[A_DEEP ? 0 : 1]);
    const fc_element *a_first = GRADIENT ? weight + (c.result_at + (group * c.filters) * c.result_stride[1])
                                         : weight + (c.weight_at + group * c.weight_group_stride);
    const offset_t b_stride = (offset_t)c.source_stride[1];
    const fc_element *b_first = source + (c.source_at + (group * c.channels) * c.source_stride[1]);
    const int b_pixel = first_n + b_column;
    const offset_t b_at = B_DEEP || b_pixel >= gemm.columns ? 0 : pixel_at(b_pixel, c.source_stride);
    a.apart = a_stride * (fc_copies_a::STEP * SIZE), b.apart = b_stride * (fc_copies_b::STEP * SIZE);
    auto open = [&](int k) {
        const int a_k = A_DEEP ? k + a_column : k + a_row, b_k = B_DEEP ? k + b_column : k + b_row;
        a.there = A_DEEP ? a_k < end : first_m + a_column < gemm.rows;
        a.rows = A_DEEP ? gemm.rows - first_m - a_row : end - a_k;
        const offset_t a_at = GRADIENT ? (a.there ? pixel_at(a_k, c.result_stride) : 0) : A_DEEP ? a_k : first_m + a_column;
        a.from = (const char *)(a_first + ((offset_t)(A_DEEP ? first_m + a_row : a_k) * a_stride + a_at));
        b.there = B_DEEP ? b_k < end : b_pixel < gemm.columns;
        b.rows = B_DEEP ? c.channels - first_n - b_row : end - b_k;
        const offset_t at = B_DEEP ? (b.there ? pixel_at(b_k, c.source_stride) : 0) : b_at;
        b.from = (const char *)(b_first + ((offset_t)(B_DEEP ? first_n + b_row : b_k) * b_stride + at));
    };
    auto copy = [&](unsigned char *stage, int i) {
        if (i < fc_copies_a::COUNT)
            a.copy(stage, i);
        else
            b.copy(stage + TILE_A, i - fc_copies_a::COUNT);
    };

    // -- fragments
    const int warp_m = warp / WARPS_N * (16 * MT), warp_n = warp % WARPS_N * (8 * NT);
    const int a_lane = A_DEEP ? (warp_m + lane % 16) * fc_copies_a::PITCH + lane / 16 * 16
                              : (lane % 8 + lane / 16 * 8) * fc_copies_a::PITCH + (warp_m + lane / 8 % 2 * 8) * SIZE;
    const int b_lane = B_DEEP ? (warp_n + lane % 8 + lane / 16 * 8) * fc_copies_b::PITCH + lane / 8 % 2 * 16
                              : lane % 16 * fc_copies_b::PITCH + (warp_n + lane / 16 * 8) * SIZE;
    auto load_rows = [&](fc_u32(&x)[4], const unsigned char *stage, int k, int i) {
        if (A_DEEP)
            fc_ldmatrix4(x, stage + a_lane + i * 16 * fc_copies_a::PITCH + k * 32);
        else
            fc_ldmatrix4_transposed(x, stage + a_lane + k * 16 * fc_copies_a::PITCH + i * 16 * SIZE);
    };
    auto load_columns = [&](fc_u32(&y)[4], const unsigned char *stage, int k, int j) {
        if (B_DEEP)
            fc_ldmatrix4(y, stage + TILE_A + b_lane + j * 16 * fc_copies_b::PITCH + k * 32);
        else
            fc_ldmatrix4_transposed(y, stage + TILE_A + b_lane + k * 16 * fc_copies_b::PITCH + j * 16 * SIZE);
    };

    // -- the steps
    float sum[MT][NT][4] = {};
    for (int i = 0; i < STAGES - 1; i++) {
        open(begin + i * BK); // behind the last one: zeros that nobody reads
#pragma unroll
        for (int j = 0; j < COPIES; j++) copy(shared + i * STAGE_BYTES, j);
        fc_copy_commit();
    }
    int from = 0;
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        fc_copy_wait<STAGES - 2>();
        __syncthreads(); // everyone's copies are there, and nobody reads the stage that is written next
        const unsigned char *stage = shared + from * STAGE_BYTES;
        unsigned char *to = shared + (from == 0 ? STAGES - 1 : from - 1) * STAGE_BYTES;
        fc_u32 x[2][PIECES][MT][4], y[2][4];
#pragma unroll
        for (int i = 0; i < MT; i++) load_rows(x[0][0][i], stage, 0, i);
        load_columns(y[0], stage, 0, 0);
        open(begin + (step + STAGES - 1) * BK);
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            const int k = slot / (NT / 2), j = slot % (NT / 2);
            if (slot + 1 < SLOTS) load_columns(y[(slot + 1) % 2], stage, (slot + 1) / (NT / 2), (slot + 1) % (NT / 2));
            if (k + 1 < STEPS)
#pragma unroll
                for (int i = j * MT / (NT / 2); i < (j + 1) * MT / (NT / 2); i++)
                    load_rows(x[(k + 1) % 2][0][i], stage, k + 1, i);
#pragma unroll
            for (int i = slot * COPIES / SLOTS; i < (slot + 1) * COPIES / SLOTS; i++) copy(to, i);
            fc_multiply_pair(sum, j, x[k % 2], y[slot % 2]);
        }
        fc_copy_commit();
        from = from + 1 == STAGES ? 0 : from + 1;
    }
    fc_copy_wait<0>();
    __syncthreads(); // the table, where there are no steps

    // -- results
    const int row = first_m + warp_m + lane / 4, column = warp_n + lane % 4 * LANE_COLUMNS;
    fc_place place = {(fc_result *)result, (offset_t)(GRADIENT ? c.weight_stride[0] : c.result_stride[1]), bias, add,
                      (offset_t)c.add_stride[1], (float)c.slope};
    if (SPLIT) { // (split, group, row, column)
        place.to += ((long long)(blockIdx.z * c.groups + group) * gemm.rows + row) * gemm.columns;
        place.stride = gemm.columns;
    } else if (GRADIENT)
        place.to += c.weight_at + group * c.weight_group_stride + row * c.weight_stride[0];
    else
        place.to += c.result_at + ((long long)group * c.filters + row) * c.result_stride[1];
    if (HAS_BIAS) place.bias += group * c.filters + row;
    if (HAS_ADD) place.add += c.add_at + ((long long)group * c.filters + row) * c.add_stride[1];
    fc_store_tile(sum, place, gemm.rows - row, result_at + column, add_at + column);
}
