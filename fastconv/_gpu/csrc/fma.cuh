// Products of tiles in shared memory on the FMA units, and what is done with their sums.
//
// Tiles of BM x BN x BK, each thread TM x TN results as blocks of VEC x VEC. They come by asynchronous copies into
// STAGES buffers in turn; one barrier a step.
#define SINGLY 0
#define COLUMNS 1
#define ROWS 2
typedef REAL real;
typedef
#if WIDE
    long long
#else
    int
#endif
        offset_t;
#define VEC (16 / (int)sizeof(real))
#define THREADS (BM * BN / (TM * TN))
#define WARPS_N (BN / (4 * TN)) // a warp computes 8 TM x 4 TN: lanes 8 x 4
#define PITCH_A (BM + VEC)
#define PITCH_B (BN + VEC)
#define STAGE (BK * (PITCH_A + PITCH_B))

struct __align__(16) fc_vector {
    real x[VEC];
};

// sum += a^T b, for the thread's rows (0 .. VEC-1) + 8 VEC i and columns (0 .. VEC-1) + 4 VEC j behind a and b;
// copy(part) between the products.
template <typename Copy>
static __device__ __forceinline__ void fc_multiply(const real *a, const real *b, real (&sum)[TM][TN], Copy copy) {
#pragma unroll
    for (int k = 0; k < BK; k++) {
        copy(k);
        fc_vector x[TM / VEC], y[TN / VEC];
#pragma unroll
        for (int i = 0; i < TM / VEC; i++) x[i] = *(const fc_vector *)(a + k * PITCH_A + i * 8 * VEC);
#pragma unroll
        for (int j = 0; j < TN / VEC; j++) y[j] = *(const fc_vector *)(b + k * PITCH_B + j * 4 * VEC);
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN; j++) sum[i][j] = fc_fma(x[i / VEC].x[i % VEC], y[j / VEC].x[j % VEC], sum[i][j]);
    }
}

// The product of all tiles. A stage is a tile of A (BK x PITCH_A) and one of B (BK x PITCH_B).
// fetch(stage) makes ready the copies of the next step, copy(part) starts one of BK parts of them. IN_RUNS: start()
// makes ready for some steps and says for how many; it is called again after these, and stop() after the last one. Then
// copies fill with zeros: tiles behind the last one, which nobody reads.
template <bool IN_RUNS, typename Start, typename Stop, typename Fetch, typename Copy>
static __device__ __forceinline__ void fc_run(int steps, Start start, Stop stop, Fetch fetch, Copy copy, real *tiles,
                                              int row, int column, real (&sum)[TM][TN]) {
    int fetched = 0, run_end = IN_RUNS ? 0 : steps + STAGES - 1;
    auto next_run = [&] {
        if (fetched < steps)
            run_end = min(fetched + start(), steps);
        else {
            stop();
            run_end = steps + STAGES - 1;
        }
    };
    for (; fetched < STAGES - 1; fetched++) {
        if (IN_RUNS && fetched == run_end) next_run();
        fetch(tiles + fetched * STAGE);
#pragma unroll
        for (int part = 0; part < BK; part++) copy(part);
        fc_copy_commit();
    }
    int from = 0, to = (STAGES - 1) * STAGE;
    while (fetched < steps + STAGES - 1) {
        if (IN_RUNS && fetched == run_end) next_run();
#pragma unroll 1
        for (; fetched < run_end; fetched++) {
            fc_copy_wait<STAGES - 2>();
            __syncthreads(); // everyone's copies are there, and nobody reads the tile that is written next
            fetch(tiles + to);
            fc_multiply(tiles + from + row, tiles + from + BK * PITCH_A + column, sum, copy);
            fc_copy_commit();
            to = from;
            from = from + STAGE == STAGES * STAGE ? 0 : from + STAGE;
        }
    }
    fc_copy_wait<0>();
}

// The block's tile. Asked for again where it is needed, since a register that lives through the product costs more.
struct fc_block {
    int first_m, first_n, group, split;
};
static __device__ __forceinline__ fc_block fc_this_block(const fc_gemm &gemm) {
    const int x = fc_block_index(0), tile_n = fc_quotient(x, gemm.filter_tiles);
    return {(x - tile_n * (int)gemm.filter_tiles.d) * BM, tile_n * BN, fc_block_index(1), fc_block_index(2)};
}

// The thread's first row and column in the tile.
static __device__ __forceinline__ int fc_thread_row() {
    return (threadIdx.x >> 5) / WARPS_N * (8 * TM) + (threadIdx.x & 31) / 4 * VEC;
}
static __device__ __forceinline__ int fc_thread_column() {
    return (threadIdx.x >> 5) % WARPS_N * (4 * TN) + (threadIdx.x & 3) * VEC;
}

// -- results

// Where results go: a row's number times `stride`, and a table of the columns.
struct fc_place {
    real *to;
    const offset_t *at;
    offset_t stride;
    const real *bias, *add;
    const offset_t *add_at;
    offset_t add_stride;
    real slope;
};

static __device__ __forceinline__ fc_vector fc_load(const real *from) {
    fc_vector v;
    if (STORED == SINGLY)
        v.x[0] = *from;
    else
        v = *(const fc_vector *)from;
    return v;
}
static __device__ __forceinline__ void fc_put(real *to, const fc_vector &v) {
    if (STORED == SINGLY)
        *to = v.x[0];
    else
        *(fc_vector *)to = v;
}

// Stores the thread's results; `place` begins with its first row and column, of `rows` and `columns` that there are.
// STORED: vectors along COLUMNS (pixels), along ROWS (channels), or SINGLY.
static __device__ __forceinline__ void fc_store(const real (&sum)[TM][TN], const fc_place &place, int rows,
                                                int columns) {
    const int high = STORED == ROWS ? VEC : 1, wide = STORED == COLUMNS ? VEC : 1;
#pragma unroll
    for (int block = 0; block < TM * TN; block += VEC * VEC) { // first all that is loaded, then all that is stored
        const int i = block / (VEC * TN) * VEC, j = block / VEC % TN, first_m = i * 8, first_n = j * 4;
        fc_vector add[VEC / high][VEC / wide];
        real bias[VEC];
#pragma unroll
        for (int y = 0; y < VEC; y++) {
            if (HAS_BIAS) bias[y] = first_m + y < rows ? place.bias[first_m + y] : 0;
            if (HAS_ADD && y % high == 0)
#pragma unroll
                for (int x = 0; x < VEC; x += wide)
                    if (first_m + y < rows && first_n + x < columns)
                        add[y / high][x / wide] =
                            fc_load(place.add + (place.add_at[first_n + x] + (first_m + y) * place.add_stride));
        }
#pragma unroll
        for (int y = 0; y < VEC; y += high)
#pragma unroll
            for (int x = 0; x < VEC; x += wide) {
                if (first_m + y >= rows || first_n + x >= columns) continue;
                fc_vector z;
#pragma unroll
                for (int e = 0; e < high * wide; e++) {
                    const int down = STORED == ROWS ? e : 0, right = STORED == COLUMNS ? e : 0;
                    z.x[e] = sum[i + y + down][j + x + right];
                    if (HAS_BIAS) z.x[e] = fc_plus(z.x[e], bias[y + down]);
                    if (HAS_ADD) z.x[e] = fc_plus(z.x[e], add[y / high][x / wide].x[e]);
                    z.x[e] = fc_activate(z.x[e], place.slope);
                }
                fc_put(place.to + (place.at[first_n + x] + (first_m + y) * place.stride), z);
            }
    }
}
