// Implicit GEMM on the FMA units, in strict float32 or float64: any strides, padding, dilation and groups.
//
// M = result channels, N = pixels (n, d, h, w), reduction = (tap, channel), taps outermost: a thread's accumulators are
// runs of pixels of some channels, stored NCHW or NHWC as they are, and a step of the reduction never straddles taps.
// Weight gradients: M = filters, N = (channel, tap), reduction = pixels.
//
//   pack_weights      weights as (group, tap, channel, filter), padded with zeros to whole tiles
//   correlate         forward and input gradients; a launch for every stride phase
//   weight_gradient   dw; of one tap without padding: pointwise.cu
//
// Where the reduction is split, add_partials.cu adds the sums of the splits.
//
// Numerics. A sum is one chain of fused multiply-adds in the order of the reduction, a chain for each split, without
// flushing subnormal numbers. What padding contributes is a product with 0.
//
// Preconditions. Unless WIDE, all offsets of elements from the first one of a launch's arrays fit in 32 bits.
#define PACK 0
#define CORRELATE 1
#define GRADIENT 2
#define PIXELS 0
#define CHANNELS 1

#if KERNEL == PACK
// -- packed weights

// A thread per (channel, filter) of a group, AT_ONCE taps at a time: blocks of 32 filters x 8 channels, so that lines of
// weights that are read with gaps are read from cache the next time. With MARKED there is a byte for every block in
// front, a multiple of 256 of them: whether one of its weights is not finite.
extern "C" __global__ void __launch_bounds__(256)
    pack_weights(const real *__restrict__ weight, real *packed, const __grid_constant__ fc_correlation c,
                 const __grid_constant__ fc_gemm gemm) {
    const int f = blockIdx.x * 32 + threadIdx.x % 32, k = blockIdx.y * 8 + threadIdx.x / 32, group = blockIdx.z;
    const bool stored = f < gemm.padded_filters && k < gemm.padded_channels;
    const bool there = f < c.filters && k < c.channels;
    weight += c.weight_at + group * c.weight_group_stride;
    if (there) weight += f * c.weight_stride[0] + k * c.weight_stride[1];
    const long long matrix = (long long)gemm.padded_channels * gemm.padded_filters;
#if MARKED
    const fc_u32 blocks = gridDim.x * gridDim.y * gridDim.z;
    unsigned char *mark = (unsigned char *)packed + (group * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    bool finite = true;
    packed = (real *)((char *)packed + (blocks + 255) / 256 * 256);
#endif
    const int taps = c.taps[0] * c.taps[1] * c.taps[2];
    packed += group * taps * matrix + (long long)k * gemm.padded_filters + f;
    for (int first = 0; first < taps; first += AT_ONCE) {
        real x[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const int d = fc_quotient(first + i, gemm.plane_taps), in_plane = first + i - d * gemm.plane_taps.d;
            const int h = fc_quotient(in_plane, gemm.row_taps), w = in_plane - h * gemm.row_taps.d;
            x[i] = 0;
            if (there && first + i < taps)
                x[i] = weight[d * c.weight_stride[2] + h * c.weight_stride[3] + w * c.weight_stride[4]];
#if MARKED
            finite &= x[i] - x[i] == 0;
#endif
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++, packed += matrix)
            if (stored && first + i < taps) *packed = x[i];
    }
#if MARKED
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) *mark = !finite;
#endif
}
#endif

#if KERNEL == CORRELATE
// -- forward and input gradients

// How pixels' tiles are read. PIXELS: lanes along pixels, SOURCE_VECTOR (1 or VEC) of them at a time. CHANNELS: eight
// lanes along channels. A thread has HELD pixels, and of each every CHANNEL_STEP-th channel.
#if ALONG == CHANNELS
#define CHANNEL_STEP 8
#define HELD (BN * 8 / THREADS)
#else
#define CHANNEL_STEP (THREADS * SOURCE_VECTOR / BN)
#define HELD 1
#endif
#define LOADS_A (BM * BK / VEC / THREADS)
#define OUTSIDE ((offset_t)1 << (8 * sizeof(offset_t) - 1)) // an offset that no element has

static __device__ __forceinline__ int fc_b_pixel(int i) {
    return ALONG == CHANNELS ? threadIdx.x / 8 + i * (THREADS / 8) : threadIdx.x % (BN / SOURCE_VECTOR) * SOURCE_VECTOR;
}
static __device__ __forceinline__ int fc_b_channel() {
    return ALONG == CHANNELS ? threadIdx.x % 8 : threadIdx.x / (BN / SOURCE_VECTOR);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    correlate(const real *__restrict__ source, const real *__restrict__ packed, real *result,
              const real *__restrict__ bias, const real *add, const __grid_constant__ fc_correlation c,
              const __grid_constant__ fc_gemm gemm) {
    __shared__ __align__(16) real tiles[STAGES * STAGE];
    __shared__ offset_t source_at[BN], result_at[BN], add_at[HAS_ADD ? BN : 1];
    __shared__ int first[3][BN]; // the element that the first tap reads, on each axis
    const int first_n = fc_this_block(gemm).first_n;
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

    // What is fetched next: channels from c0 on of a tap.
    int tap = 0, c0 = 0;
    const int begin = SPLIT ? blockIdx.z * gemm.depth_of_split : 0;
    if (SPLIT) {
        tap = fc_quotient(begin, gemm.channel_blocks);
        c0 = (begin - tap * gemm.channel_blocks.d) * BK;
    }
    const int a_k = threadIdx.x / (BM / VEC), a_m = threadIdx.x % (BM / VEC) * VEC, a_step = THREADS / (BM / VEC);
    const char *a_from = (const char *)packed, *b_from = (const char *)source;
    const int a_stride = a_step * gemm.padded_filters * (int)sizeof(real); // bytes from a load to the thread's next one
    const offset_t b_stride = (offset_t)c.source_stride[1] * CHANNEL_STEP * (int)sizeof(real);
    offset_t b_at[HELD]; // of the thread's pixels, behind b_from
    bool a_inside = true;
    int channel = 0; // that the thread fetches next

    auto start = [&] {
        const fc_block block = fc_this_block(gemm);
        const int td = fc_quotient(tap, gemm.plane_taps), in_plane = tap - td * gemm.plane_taps.d;
        const int th = fc_quotient(in_plane, gemm.row_taps), tw = in_plane - th * gemm.row_taps.d;
        const offset_t tap_at = (offset_t)(td * c.delta[0] * c.source_stride[2] + th * c.delta[1] * c.source_stride[3] +
                                           tw * c.delta[2] * c.source_stride[4]);
        channel = c0 + fc_b_channel();
        const real *from = source + (c.source_at + (block.group * c.channels + channel) * c.source_stride[1]);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int pixel = fc_b_pixel(i);
            bool inside = true;
            if (CHECKED & 1) inside &= (fc_u32)(first[0][pixel] + td * c.delta[0]) < c.source_size[0];
            if (CHECKED & 2) inside &= (fc_u32)(first[1][pixel] + th * c.delta[1]) < c.source_size[1];
            if (CHECKED & 4) inside &= (fc_u32)(first[2][pixel] + tw * c.delta[2]) < c.source_size[2];
            b_at[i] = inside ? source_at[pixel] + tap_at : OUTSIDE;
        }
        b_from = (const char *)(HELD == 1 ? from + b_at[0] : from);
        a_from = (const char *)(packed + (c.weight_at + block.group * c.weight_group_stride + td * c.weight_stride[2] +
                                          th * c.weight_stride[3] + tw * c.weight_stride[4] + block.first_m +
                                          (c0 + a_k) * gemm.padded_filters + a_m));
        const int blocks = gemm.channel_blocks.d - c0 / BK;
        tap++, c0 = 0;
        return blocks;
    };
    auto stop = [&] {
        a_inside = false;
#pragma unroll
        for (int i = 0; i < HELD; i++) b_at[i] = OUTSIDE;
    };
    auto fetch = [&](real *stage) {
#pragma unroll
        for (int i = 0; i < LOADS_A; i++)
            fc_copy_async<16>(stage + (a_k + i * a_step) * PITCH_A + a_m, a_from + (long long)a_stride * i,
                              a_inside ? 16 : 0);
        a_from += (long long)a_stride * LOADS_A;
        real *to = stage + BK * PITCH_A + fc_b_channel() * PITCH_B;
#pragma unroll
        for (int i = 0; i < BK / CHANNEL_STEP; i++) {
            const bool there = WHOLE_BLOCKS || channel + i * CHANNEL_STEP < c.channels;
#pragma unroll
            for (int j = 0; j < HELD; j++) {
                const char *from = b_from + (long long)b_stride * i;
                if (HELD > 1) from = (const char *)((const real *)from + b_at[j]);
                fc_copy_async<SOURCE_VECTOR * sizeof(real)>(to + i * CHANNEL_STEP * PITCH_B + fc_b_pixel(j), from,
                                                            there && b_at[j] != OUTSIDE ? SOURCE_VECTOR * sizeof(real)
                                                                                        : 0);
            }
        }
        b_from += (long long)b_stride * (BK / CHANNEL_STEP);
        if (!WHOLE_BLOCKS) channel += BK;
    };

    real sum[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] = 0;
    const int row = fc_thread_row(), column = fc_thread_column();

    const int steps = min(gemm.depth_of_split, gemm.depth - begin);
    fc_run<true>(steps, start, stop, fetch, [](int) {}, tiles, row, column, sum);

    const fc_block block = fc_this_block(gemm);
    fc_place place = {result, result_at + column, (offset_t)c.result_stride[1], bias,
                      add,    add_at + column,    (offset_t)c.add_stride[1],    (real)c.slope};
    if (SPLIT) { // (split, group, row, column)
        place.stride = gemm.columns;
        place.to += (long long)(block.split * c.groups + block.group) * gemm.rows * gemm.columns;
    } else
        place.to += c.result_at + block.group * c.filters * c.result_stride[1];
    const int first_row = block.first_m + row, first_filter = block.group * c.filters + first_row;
    place.to += first_row * place.stride;
    if (HAS_BIAS) place.bias += first_filter;
    if (HAS_ADD) place.add += c.add_at + first_filter * c.add_stride[1];
    fc_store(sum, place, gemm.rows - first_row, gemm.columns - block.first_n - column);
}
#endif

#if KERNEL == GRADIENT
// -- weight gradients

// How tiles are read. PIXELS: eight lanes along the reduction. CHANNELS: lanes along filters and columns, VECTOR (1 or
// VEC) of them at a time.
#if ALONG == CHANNELS
#define DEPTHS(SIZE) (SIZE * BK / VECTOR / THREADS)
#define ROWS_OF(SIZE) 1
#else
#define DEPTHS(SIZE) (BK / 8)
#define ROWS_OF(SIZE) (SIZE * 8 / THREADS)
#endif
#define ROW_STEP (THREADS / 8)
#define CHUNK (WIDE ? 64 : 128) // pixels of which tables are made at a time

template <int SIZE> static __device__ __forceinline__ int fc_tile_row() {
    return ALONG == CHANNELS ? threadIdx.x % (SIZE / VECTOR) * VECTOR : threadIdx.x / 8;
}
template <int SIZE> static __device__ __forceinline__ int fc_tile_depth(int i) {
    return ALONG == CHANNELS ? threadIdx.x / (SIZE / VECTOR) + i * (THREADS * VECTOR / SIZE) : threadIdx.x % 8 + i * 8;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const real *__restrict__ source, const real *__restrict__ result, real *weight,
                    const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    __shared__ __align__(16) real tiles[STAGES * STAGE];
    // By pixels, of three chunks in turn: one is read, one is next, and one some may still have read at the last step.
    __shared__ offset_t source_at[3 * CHUNK], result_at[3 * CHUNK];
    __shared__ int first[3][3 * CHUNK];
    __shared__ offset_t column_at[BN], weight_at[BN];
    __shared__ int shift[3][BN]; // from what the first tap reads to what the column's tap reads
    const fc_block block = fc_this_block(gemm);
    const int first_m = block.first_m, first_n = block.first_n, columns = gemm.columns - first_n;
    const int begin = block.split * gemm.depth_of_split, end = min(begin + gemm.depth_of_split, gemm.depth);
    const int steps = (end - begin + BK - 1) / BK;

    auto make_tables = [&](int first_pixel, int to) { // pixels behind the last one are it once more
        for (int i = ALONG == CHANNELS ? fc_thread_index() : threadIdx.x; i < CHUNK; i += THREADS) { // no spills so
            const fc_pixel at = fc_decode(min(first_pixel + i, end - 1), gemm);
            const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                                   at.w * c.step[2] + c.first[2]};
            source_at[to + i] = (offset_t)fc_offset(from, c.source_stride);
            result_at[to + i] = (offset_t)fc_offset(at, c.result_stride);
            first[0][to + i] = from.d, first[1][to + i] = from.h, first[2][to + i] = from.w;
        }
    };
    for (int i = threadIdx.x; i < BN; i += THREADS) {
        const fc_column at = fc_column_of(first_n + min(i, columns - 1), gemm);
        const int d = at.d * c.delta[0], h = at.h * c.delta[1], w = at.w * c.delta[2];
        shift[0][i] = d, shift[1][i] = h, shift[2][i] = w;
        column_at[i] = (offset_t)(at.channel * c.source_stride[1] + d * c.source_stride[2] + h * c.source_stride[3] +
                                  w * c.source_stride[4]);
        weight_at[i] = SPLIT ? first_n + i : (offset_t)FC_WEIGHT_AT(at);
    }
    make_tables(begin, 0);
    __syncthreads(); // the tables

    const int a_row = fc_tile_row<BM>(), b_row = fc_tile_row<BN>();
    const int a_rows = gemm.rows - first_m - a_row, b_rows = columns - b_row; // from the thread's first ones on
    const real *a_from = result + (c.result_at + (block.group * c.filters + first_m + a_row) * c.result_stride[1]);
    const real *b_from = source + (c.source_at + block.group * c.channels * c.source_stride[1]);
    const offset_t a_stride = (offset_t)c.result_stride[1] * ROW_STEP * (int)sizeof(real);
    offset_t b_at[ROWS_OF(BN)]; // of the thread's columns
    int b_shift[3][ROWS_OF(BN)];
#pragma unroll
    for (int i = 0; i < ROWS_OF(BN); i++) {
        const int n = min(b_row + i * ROW_STEP, columns - VECTOR); // aligned, although it is not read
        b_at[i] = column_at[n];
        for (int axis = 0; axis < 3; axis++) b_shift[axis][i] = shift[axis][n];
    }

    int at = 0, at_pixel = begin; // `at`: in the tables
    auto start = [&] {
        at = at == 3 * CHUNK ? 0 : at;
        make_tables(at_pixel + CHUNK, at == 2 * CHUNK ? 0 : at + CHUNK);
        return CHUNK / BK;
    };
    auto stop = [&] { at = 0, at_pixel = end; };
    auto fetch = [&](real *stage) {
        const int bytes = VECTOR * sizeof(real);
        const real *a[DEPTHS(BM)], *b[DEPTHS(BN)];
        int from[3][DEPTHS(BN)];
        bool a_inside[DEPTHS(BM)], b_inside[DEPTHS(BN)];
#pragma unroll
        for (int i = 0; i < DEPTHS(BM); i++) { // all tables first: loads do not pass the copies
            const int k = fc_tile_depth<BM>(i);
            a[i] = a_from + result_at[at + k];
            a_inside[i] = at_pixel + k < end;
        }
#pragma unroll
        for (int i = 0; i < DEPTHS(BN); i++) {
            const int k = fc_tile_depth<BN>(i);
            b[i] = b_from + source_at[at + k];
            b_inside[i] = at_pixel + k < end;
            if (CHECKED & 1) from[0][i] = first[0][at + k];
            if (CHECKED & 2) from[1][i] = first[1][at + k];
            if (CHECKED & 4) from[2][i] = first[2][at + k];
        }
#pragma unroll
        for (int i = 0; i < DEPTHS(BM); i++)
#pragma unroll
            for (int j = 0; j < ROWS_OF(BM); j++) {
                const bool there = a_inside[i] && (WHOLE_ROWS || j * ROW_STEP < a_rows);
                fc_copy_async<bytes>(stage + fc_tile_depth<BM>(i) * PITCH_A + a_row + j * ROW_STEP,
                                     (const char *)a[i] + (long long)a_stride * j, there ? bytes : 0);
            }
        stage += BK * PITCH_A;
#pragma unroll
        for (int i = 0; i < DEPTHS(BN); i++)
#pragma unroll
            for (int j = 0; j < ROWS_OF(BN); j++) {
                bool there = b_inside[i] && (WHOLE_COLUMNS || j * ROW_STEP < b_rows);
                if (CHECKED & 1) there &= (fc_u32)(from[0][i] + b_shift[0][j]) < c.source_size[0];
                if (CHECKED & 2) there &= (fc_u32)(from[1][i] + b_shift[1][j]) < c.source_size[1];
                if (CHECKED & 4) there &= (fc_u32)(from[2][i] + b_shift[2][j]) < c.source_size[2];
                fc_copy_async<bytes>(stage + fc_tile_depth<BN>(i) * PITCH_B + b_row + j * ROW_STEP, b[i] + b_at[j],
                                     there ? bytes : 0);
            }
        at += BK;
        at_pixel += BK;
    };

    real sum[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] = 0;
    const int row = fc_thread_row(), column = fc_thread_column();
    fc_run<true>(steps, start, stop, fetch, [](int) {}, tiles, row, column, sum);

    const fc_block again = fc_this_block(gemm);
    const int first_row = again.first_m + row;
    fc_place place = {weight, weight_at + column, (offset_t)c.weight_stride[0], 0, 0, 0, 0, 0};
    if (SPLIT) {
        place.stride = gemm.columns;
        place.to += (long long)(again.split * c.groups + again.group) * gemm.rows * gemm.columns;
    } else
        place.to += c.weight_at + again.group * c.weight_group_stride;
    place.to += first_row * place.stride;
    fc_store(sum, place, gemm.rows - first_row, gemm.columns - again.first_n - column);
}
#endif
