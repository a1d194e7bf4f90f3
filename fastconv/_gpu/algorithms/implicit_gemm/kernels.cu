// Implicit GEMM on the FMA units, in strict float32 or float64: any strides, padding, dilation and groups.
//
// M = result channels, N = pixels (n, d, h, w), reduction = (tap, channel), taps outermost: a thread's accumulators are
// runs of pixels of some channels, stored NCHW or NHWC as they are, and a step of the reduction never straddles taps.
// Weight gradients: M = filters, N = (channel, tap), reduction = pixels.
//
//   pack_weights      weights as (group, tap, channel, filter), padded with zeros to whole tiles
//   correlate         forward and input gradients; a launch for every stride phase
//   weight_gradient   dw
//   add_partials      where the reduction is split: adds the splits' sums in ascending order
//
// Numerics. A sum is one chain of fused multiply-adds in the order of the reduction, a chain for each split, without
// flushing subnormal numbers. What padding contributes is a product with 0.
//
// Tiles of BM x BN x BK, each thread TM x TN results as blocks of VEC x VEC. They come by asynchronous copies into
// STAGES buffers in turn; one barrier a step.
//
// Preconditions. Unless WIDE, all offsets of elements from the first one of a launch's arrays fit in 32 bits.
#define PACK 0
#define CORRELATE 1
#define GRADIENT 2
#define SUM 3
#define PIXELS 0
#define CHANNELS 1
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

struct fc_gemm {
    fc_divider filter_tiles;         // tiles along M
    fc_divider image, plane, row;    // pixels of an image, of its plane, of its row
    fc_divider inner;                // weight gradients: the size of the inner one of (channel, tap)
    fc_divider plane_taps, row_taps; // taps of a plane, of a row
    fc_divider channel_blocks;       // steps of a tap
    fc_divider group_rows;           // M
    int rows, columns;               // M and N of a group
    int depth, depth_of_split;       // weight gradients: pixels; else steps of the reduction
    int splits;
    int padded_channels, padded_filters; // of packed weights
};

struct fc_pixel {
    int n, d, h, w;
};
static __device__ __forceinline__ fc_pixel fc_decode(int pixel, const fc_gemm &gemm) {
    fc_pixel at;
    at.n = fc_quotient(pixel, gemm.image);
    pixel -= at.n * gemm.image.d;
    at.d = fc_quotient(pixel, gemm.plane);
    pixel -= at.d * gemm.plane.d;
    at.h = fc_quotient(pixel, gemm.row);
    at.w = pixel - at.h * gemm.row.d;
    return at;
}
static __device__ __forceinline__ long long fc_offset(const fc_pixel &at, const long long (&stride)[5]) {
    return at.n * stride[0] + at.d * stride[2] + at.h * stride[3] + at.w * stride[4];
}

// -- the product of two tiles

struct __align__(16) fc_vector {
    real x[VEC];
};

// sum += a^T b, for the thread's rows row + (0 .. VEC-1) + 8 VEC i and columns column + (0 .. VEC-1) + 4 VEC j.
static __device__ __forceinline__ void fc_multiply(const real (&a)[BK][PITCH_A], const real (&b)[BK][PITCH_B], int row,
                                                   int column, real (&sum)[TM][TN]) {
#pragma unroll
    for (int k = 0; k < BK; k++) {
        fc_vector x[TM / VEC], y[TN / VEC];
#pragma unroll
        for (int i = 0; i < TM / VEC; i++) x[i] = *(const fc_vector *)&a[k][row + i * 8 * VEC];
#pragma unroll
        for (int j = 0; j < TN / VEC; j++) y[j] = *(const fc_vector *)&b[k][column + j * 4 * VEC];
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN; j++) sum[i][j] = fc_fma(x[i / VEC].x[i % VEC], y[j / VEC].x[j % VEC], sum[i][j]);
    }
}

// Every step: fetch(stage) starts the copies of the next tiles, in order.
template <typename Fetch>
static __device__ __forceinline__ void fc_run(int steps, Fetch &fetch, const real (&tile_a)[STAGES][BK][PITCH_A],
                                              const real (&tile_b)[STAGES][BK][PITCH_B], int row, int column,
                                              real (&sum)[TM][TN]) {
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) fetch(s);
        fc_copy_commit();
    }
    int stage = 0, next = STAGES - 1;
    for (int s = 0; s < steps; s++) {
        fc_copy_wait<STAGES - 2>();
        __syncthreads(); // everyone's copies are there, and nobody reads the tile that is written next
        if (s + STAGES - 1 < steps) fetch(next);
        fc_copy_commit();
        fc_multiply(tile_a[stage], tile_b[stage], row, column, sum);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
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
    for (int i = 0; i < TM; i += high) {
        const int m = i / VEC * 8 * VEC + i % VEC;
#pragma unroll
        for (int j = 0; j < TN; j += wide) {
            const int n = j / VEC * 4 * VEC + j % VEC;
            if (m >= rows || n >= columns) continue;
            fc_vector z, add;
            if (HAS_ADD) add = fc_load(place.add + (place.add_at[n] + m * place.add_stride));
#pragma unroll
            for (int e = 0; e < high * wide; e++) {
                const int y = STORED == ROWS ? e : 0, x = STORED == COLUMNS ? e : 0;
                z.x[e] = sum[i + y][j + x];
                if (HAS_BIAS) z.x[e] = fc_plus(z.x[e], place.bias[m + y]);
                if (HAS_ADD) z.x[e] = fc_plus(z.x[e], add.x[e]);
                z.x[e] = fc_activate(z.x[e], place.slope);
            }
            fc_put(place.to + (place.at[n] + m * place.stride), z);
        }
    }
}

#if KERNEL == PACK
// -- packed weights

// A thread per (channel, filter) of a group, all taps: blocks of 32 filters x 8 channels, so that lines of weights that
// are read with gaps are read from cache the next time.
extern "C" __global__ void __launch_bounds__(256)
    pack_weights(const real *__restrict__ weight, real *packed, const __grid_constant__ fc_correlation c,
                 const __grid_constant__ fc_gemm gemm) {
    const int f = blockIdx.x * 32 + threadIdx.x % 32, k = blockIdx.y * 8 + threadIdx.x / 32, group = blockIdx.z;
    if (f >= gemm.padded_filters || k >= gemm.padded_channels) return;
    const bool there = f < c.filters && k < c.channels;
    weight += c.weight_at + group * c.weight_group_stride;
    if (there) weight += f * c.weight_stride[0] + k * c.weight_stride[1];
    const long long matrix = (long long)gemm.padded_channels * gemm.padded_filters;
    packed += group * c.taps[0] * c.taps[1] * c.taps[2] * matrix + (long long)k * gemm.padded_filters + f;
    for (int d = 0; d < c.taps[0]; d++)
        for (int h = 0; h < c.taps[1]; h++)
            for (int w = 0; w < c.taps[2]; w++, packed += matrix)
                *packed = there ? weight[d * c.weight_stride[2] + h * c.weight_stride[3] + w * c.weight_stride[4]] : 0;
}
#endif

#if KERNEL == CORRELATE
// -- forward and input gradients

// How pixels' tiles are read. PIXELS: lanes along pixels, SOURCE_VECTOR (1 or VEC) of them at a time; CHANNELS: lanes
// along channels.
#if ALONG == CHANNELS
#define LOADS_B (BN * BK / THREADS)
#define HELD LOADS_B // pixels of a thread
#else
#define UNITS_B (BN / SOURCE_VECTOR)
#define LOADS_B (UNITS_B * BK / THREADS)
#define HELD 1
#endif
#define LOADS_A (BM * BK / VEC / THREADS)

static __device__ __forceinline__ int fc_b_pixel(int i) {
#if ALONG == CHANNELS
    return threadIdx.x / BK + i * (THREADS / BK);
#else
    return threadIdx.x % UNITS_B * SOURCE_VECTOR;
#endif
}
static __device__ __forceinline__ int fc_b_channel(int i) {
#if ALONG == CHANNELS
    return threadIdx.x % BK;
#else
    return threadIdx.x / UNITS_B + i * (THREADS / UNITS_B);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    correlate(const real *__restrict__ source, const real *__restrict__ packed, real *result,
              const real *__restrict__ bias, const real *add, const __grid_constant__ fc_correlation c,
              const __grid_constant__ fc_gemm gemm) {
    __shared__ __align__(16) real tile_a[STAGES][BK][PITCH_A];
    __shared__ __align__(16) real tile_b[STAGES][BK][PITCH_B];
    __shared__ offset_t source_at[BN], result_at[BN], add_at[HAS_ADD ? BN : 1];
    __shared__ int first[3][BN]; // the element that the first tap reads, on each axis
    const int tile_n = fc_quotient(blockIdx.x, gemm.filter_tiles);
    const int first_m = (blockIdx.x - tile_n * gemm.filter_tiles.d) * BM, first_n = tile_n * BN;
    const int group = blockIdx.y, split = blockIdx.z;

    for (int i = threadIdx.x; i < BN; i += THREADS) { // columns behind the last one compute the first one
        const fc_pixel at = fc_decode(first_n + i < gemm.columns ? first_n + i : 0, gemm);
        const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                               at.w * c.step[2] + c.first[2]};
        source_at[i] = (offset_t)fc_offset(from, c.source_stride);
        result_at[i] = SPLIT ? first_n + i : (offset_t)fc_offset(at, c.result_stride);
        if (HAS_ADD) add_at[i] = (offset_t)fc_offset(at, c.add_stride);
        first[0][i] = from.d, first[1][i] = from.h, first[2][i] = from.w;
    }
    __syncthreads(); // the tables

    const offset_t channel_stride = (offset_t)c.source_stride[1];
    source += c.source_at + group * c.channels * c.source_stride[1];
    packed += c.weight_at + group * c.weight_group_stride + first_m;

    // What is fetched next: a tap, its channels from c0 on.
    int td = 0, th = 0, tw = 0, c0 = 0;
    const int begin = split * gemm.depth_of_split, steps = min(gemm.depth_of_split, gemm.depth - begin);
    if (SPLIT) {
        const int tap = fc_quotient(begin, gemm.channel_blocks);
        c0 = (begin - tap * gemm.channel_blocks.d) * BK;
        td = fc_quotient(tap, gemm.plane_taps);
        th = fc_quotient(tap - td * gemm.plane_taps.d, gemm.row_taps);
        tw = tap - td * gemm.plane_taps.d - th * gemm.row_taps.d;
    }
    offset_t at[HELD];
    int bytes[HELD]; // 0 in the padding
    const real *a_from;
    auto start_tap = [&] {
        const offset_t tap = (offset_t)(td * c.delta[0] * c.source_stride[2] + th * c.delta[1] * c.source_stride[3] +
                                        tw * c.delta[2] * c.source_stride[4]);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int pixel = fc_b_pixel(i);
            bool inside = true;
            if (CHECKED & 1) inside &= (fc_u32)(first[0][pixel] + td * c.delta[0]) < c.source_size[0];
            if (CHECKED & 2) inside &= (fc_u32)(first[1][pixel] + th * c.delta[1]) < c.source_size[1];
            if (CHECKED & 4) inside &= (fc_u32)(first[2][pixel] + tw * c.delta[2]) < c.source_size[2];
            bytes[i] = inside ? SOURCE_VECTOR * sizeof(real) : 0;
            at[i] = inside ? source_at[pixel] + tap + (c0 + fc_b_channel(0)) * channel_stride : 0;
        }
        a_from = packed + td * c.weight_stride[2] + th * c.weight_stride[3] + tw * c.weight_stride[4] +
                 (c0 + (int)threadIdx.x / (BM / VEC)) * gemm.padded_filters + threadIdx.x % (BM / VEC) * VEC;
    };
    auto fetch = [&](int stage) {
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const int k = threadIdx.x / (BM / VEC) + i * (THREADS / (BM / VEC));
            fc_copy_async<16>(&tile_a[stage][k][threadIdx.x % (BM / VEC) * VEC],
                              a_from + i * (THREADS / (BM / VEC)) * gemm.padded_filters, 16);
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int held = HELD == 1 ? 0 : i;
            const offset_t more = HELD == 1 ? i * (fc_b_channel(1) - fc_b_channel(0)) * channel_stride : 0;
            const bool there = WHOLE_BLOCKS || c0 + fc_b_channel(i) < c.channels;
            fc_copy_async<SOURCE_VECTOR * sizeof(real)>(&tile_b[stage][fc_b_channel(i)][fc_b_pixel(i)],
                                                        source + (there ? at[held] + more : 0),
                                                        there ? bytes[held] : 0);
        }
        c0 += BK;
        a_from += BK * gemm.padded_filters;
#pragma unroll
        for (int i = 0; i < HELD; i++) at[i] += BK * channel_stride;
        if (c0 >= c.channels) {
            c0 = 0;
            if (++tw == c.taps[2]) {
                tw = 0;
                if (++th == c.taps[1]) th = 0, td++;
            }
            start_tap();
        }
    };

    real sum[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] = 0;
    const int row = fc_thread_row(), column = fc_thread_column();

    start_tap();
    fc_run(steps, fetch, tile_a, tile_b, row, column, sum);

    fc_place place = {result, result_at + column, (offset_t)c.result_stride[1], bias,
                      add,    add_at + column,    (offset_t)c.add_stride[1],    (real)c.slope};
    if (SPLIT) { // (split, group, row, column)
        place.stride = gemm.columns;
        place.to += (long long)(split * c.groups + group) * gemm.rows * gemm.columns;
    } else
        place.to += c.result_at + group * c.filters * c.result_stride[1];
    const int first_row = first_m + row;
    place.to += first_row * place.stride;
    if (HAS_BIAS) place.bias += group * c.filters + first_row;
    if (HAS_ADD) place.add += c.add_at + (group * c.filters + first_row) * c.add_stride[1];
    fc_store(sum, place, gemm.rows - first_row, gemm.columns - first_n - column);
}
#endif

#if KERNEL == GRADIENT
// -- weight gradients

// PIXELS: lanes along the reduction; CHANNELS: lanes along filters and columns.
#define LOADS_A (BM * BK / THREADS)
#define LOADS_B (BN * BK / THREADS)
#define CHUNK 128 // pixels of which tables are made at a time
#define CHUNK_STEPS (CHUNK / BK)

template <int SIZE> static __device__ __forceinline__ int fc_tile_row(int i) {
    return ALONG == CHANNELS ? threadIdx.x % SIZE : threadIdx.x / BK + i * (THREADS / BK);
}
template <int SIZE> static __device__ __forceinline__ int fc_tile_depth(int i) {
    return ALONG == CHANNELS ? threadIdx.x / SIZE + i * (THREADS / SIZE) : threadIdx.x % BK;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const real *__restrict__ source, const real *__restrict__ result, real *weight,
                    const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    __shared__ __align__(16) real tile_a[STAGES][BK][PITCH_A];
    __shared__ __align__(16) real tile_b[STAGES][BK][PITCH_B];
    __shared__ offset_t source_at[2][CHUNK], result_at[2][CHUNK]; // by pixels, of two chunks in turn
    __shared__ int first[2][CHUNK][3];
    __shared__ offset_t column_at[BN], weight_at[BN];
    __shared__ int shift[BN][3]; // from what the first tap reads to what the column's tap reads
    const int tile_n = fc_quotient(blockIdx.x, gemm.filter_tiles);
    const int first_m = (blockIdx.x - tile_n * gemm.filter_tiles.d) * BM, first_n = tile_n * BN;
    const int group = blockIdx.y, split = blockIdx.z;
    const int begin = split * gemm.depth_of_split, end = min(begin + gemm.depth_of_split, gemm.depth);
    const int steps = (end - begin + BK - 1) / BK;

    auto make_tables = [&](int chunk) { // pixels behind the last one are it once more
        for (int i = threadIdx.x; i < CHUNK; i += THREADS) {
            const fc_pixel at = fc_decode(min(begin + chunk * CHUNK + i, end - 1), gemm);
            const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                                   at.w * c.step[2] + c.first[2]};
            source_at[chunk & 1][i] = (offset_t)fc_offset(from, c.source_stride);
            result_at[chunk & 1][i] = (offset_t)fc_offset(at, c.result_stride);
            int (&to)[3] = first[chunk & 1][i];
            to[0] = from.d, to[1] = from.h, to[2] = from.w;
        }
    };
    for (int i = threadIdx.x; i < BN; i += THREADS) {
        const int n = min(first_n + i, gemm.columns - 1), outer = fc_quotient(n, gemm.inner);
        const int inner = n - outer * gemm.inner.d;
        const int channel = TAPS_INSIDE ? outer : inner;
        int tap = TAPS_INSIDE ? inner : outer;
        const int td = fc_quotient(tap, gemm.plane_taps);
        tap -= td * gemm.plane_taps.d;
        const int th = fc_quotient(tap, gemm.row_taps), tw = tap - th * gemm.row_taps.d;
        const int d = td * c.delta[0], h = th * c.delta[1], w = tw * c.delta[2];
        shift[i][0] = d, shift[i][1] = h, shift[i][2] = w;
        column_at[i] = (offset_t)(channel * c.source_stride[1] + d * c.source_stride[2] + h * c.source_stride[3] +
                                  w * c.source_stride[4]);
        weight_at[i] = SPLIT ? first_n + i
                             : (offset_t)(channel * c.weight_stride[1] + td * c.weight_stride[2] +
                                          th * c.weight_stride[3] + tw * c.weight_stride[4]);
    }
    make_tables(0);
    __syncthreads(); // the tables

    source += c.source_at + group * c.channels * c.source_stride[1];
    result += c.result_at + group * c.filters * c.result_stride[1];

    const int LANES_ROWS_A = ALONG == CHANNELS ? 1 : LOADS_A, LANES_ROWS_B = ALONG == CHANNELS ? 1 : LOADS_B;
    offset_t a_at[LANES_ROWS_A], b_at[LANES_ROWS_B];
    int b_shift[LANES_ROWS_B][3];
#pragma unroll
    for (int i = 0; i < LANES_ROWS_A; i++)
        a_at[i] = (offset_t)(min(first_m + fc_tile_row<BM>(i), gemm.rows - 1) * c.result_stride[1]);
#pragma unroll
    for (int i = 0; i < LANES_ROWS_B; i++) {
        b_at[i] = column_at[fc_tile_row<BN>(i)];
        for (int axis = 0; axis < 3; axis++) b_shift[i][axis] = shift[fc_tile_row<BN>(i)][axis];
    }

    int fetched = 0; // steps
    auto fetch = [&](int stage) {
        const int chunk = fetched / CHUNK_STEPS, in_chunk = fetched % CHUNK_STEPS * BK;
        if (in_chunk == 0) make_tables(chunk + 1); // nobody reads that one now, nor before the next barrier
        const int left = end - begin - fetched * BK;
#pragma unroll
        for (int i = 0; i < LOADS_A; i++) {
            const int k = fc_tile_depth<BM>(i);
            fc_copy_async<sizeof(real)>(&tile_a[stage][k][fc_tile_row<BM>(i)],
                                        result + (result_at[chunk & 1][in_chunk + k] + a_at[ALONG == CHANNELS ? 0 : i]),
                                        k < left ? sizeof(real) : 0);
        }
#pragma unroll
        for (int i = 0; i < LOADS_B; i++) {
            const int k = fc_tile_depth<BN>(i), row = ALONG == CHANNELS ? 0 : i;
            const int (&at)[3] = first[chunk & 1][in_chunk + k];
            bool inside = k < left;
            if (CHECKED & 1) inside &= (fc_u32)(at[0] + b_shift[row][0]) < c.source_size[0];
            if (CHECKED & 2) inside &= (fc_u32)(at[1] + b_shift[row][1]) < c.source_size[1];
            if (CHECKED & 4) inside &= (fc_u32)(at[2] + b_shift[row][2]) < c.source_size[2];
            fc_copy_async<sizeof(real)>(&tile_b[stage][k][fc_tile_row<BN>(i)],
                                        source + (inside ? source_at[chunk & 1][in_chunk + k] + b_at[row] : 0),
                                        inside ? sizeof(real) : 0);
        }
        fetched++;
    };

    real sum[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] = 0;
    const int row = fc_thread_row(), column = fc_thread_column();
    fc_run(steps, fetch, tile_a, tile_b, row, column, sum);

    const int first_row = first_m + row;
    fc_place place = {weight, weight_at + column, (offset_t)c.weight_stride[0], 0, 0, 0, 0, 0};
    if (SPLIT) {
        place.stride = gemm.columns;
        place.to += (long long)(split * c.groups + group) * gemm.rows * gemm.columns;
    } else
        place.to += c.weight_at + group * c.weight_group_stride;
    place.to += first_row * place.stride;
    fc_store(sum, place, gemm.rows - first_row, gemm.columns - first_n - column);
}
#endif

#if KERNEL == SUM
// -- sums of splits

// partial: (split, group, row, column). A thread per column, rows in steps of the grid's height.
extern "C" __global__ void __launch_bounds__(256)
    add_partials(const real *__restrict__ partial, real *result, const real *__restrict__ bias, const real *add,
                 const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    const int n = blockIdx.x * 256 + threadIdx.x, rows = c.groups * gemm.rows;
    if (n >= gemm.columns) return;
#if OF_GRADIENT
    const int outer = fc_quotient(n, gemm.inner), inner = n - outer * gemm.inner.d;
    const int channel = TAPS_INSIDE ? outer : inner;
    int tap = TAPS_INSIDE ? inner : outer;
    const int td = fc_quotient(tap, gemm.plane_taps);
    tap -= td * gemm.plane_taps.d;
    const int th = fc_quotient(tap, gemm.row_taps), tw = tap - th * gemm.row_taps.d;
    result += c.weight_at + channel * c.weight_stride[1] + td * c.weight_stride[2] + th * c.weight_stride[3] +
              tw * c.weight_stride[4];
#else
    const fc_pixel at = fc_decode(n, gemm);
    result += c.result_at + fc_offset(at, c.result_stride);
    if (HAS_ADD) add += c.add_at + fc_offset(at, c.add_stride);
#endif
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        real z = partial[(long long)row * gemm.columns + n];
        for (int s = 1; s < gemm.splits; s++) z = fc_plus(z, partial[((long long)s * rows + row) * gemm.columns + n]);
#if OF_GRADIENT
        const int group = fc_quotient(row, gemm.group_rows);
        result[group * c.weight_group_stride + (row - group * gemm.rows) * c.weight_stride[0]] = z;
#else
        if (HAS_BIAS) z = fc_plus(z, bias[row]);
        if (HAS_ADD) z = fc_plus(z, add[row * c.add_stride[1]]);
        result[row * c.result_stride[1]] = fc_activate(z, (real)c.slope);
#endif
    }
}
#endif
