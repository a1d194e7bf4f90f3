// Winograd's minimal filtering F(2x2, 3x3) in strict float32: 16 products for four results of nine taps.
//
// Formula. With d a tile of 4x4 elements of the source, g the 3x3 taps of a filter, of each channel,
//     2x2 results = A^T (sum over channels of (G g G^T) * (B^T d B)) A,   * by elements
//     B^T = 1  0 -1  0    G = 1    0    0     A^T = 1 1  1  0
//           0  1  1  0        1/2  1/2  1/2         0 1 -1 -1
//           0 -1  1  0        1/2 -1/2  1/2
//           0  1  0 -1        0    0    1
// Correlations of stride 1; an input gradient is one of flipped taps.
//
//   winograd_pack       G g G^T as (group, block of FILTERS, step of CHANNELS, point, channel, filter), with zeros
//   winograd_correlate  a block has FILTERS filters and TILES tiles; a warp multiplies one of the 16 points
//
// Layout. Any strides; lanes read and write along tiles, so that rows of pixels should be contiguous. Packed filters
// come by asynchronous copies into two buffers in turn; a warp's lanes transform the tiles of one channel, the upper or
// the lower half of the points, of which the elements are fetched while the ones before are multiplied.
// Preconditions. Fewer than 2^31 tiles; pixels' places fit in 32 bits.
// Numerics. Everything in float32, subnormal numbers and all; a sum over channels is one chain of FMAs. `marks`: a byte
// for every block is 1 if a result is not finite, before the epilogue, else 0.
#define FILTERS 64
#define TILES 32
#define CHANNELS 8
#define POINTS 16
#define THREADS 512
#define PACK 0
#define CORRELATE 1
#if WIDE
typedef long long offset_t;
#else
typedef int offset_t; // from a tile's first element to any of it
#endif

struct fc_winograd {
    long long source_stride[5], result_stride[5], add_stride[5], weight_stride[5]; // n, channel, d, h, w; weight: f, c
    long long weight_at, weight_group_stride;
    int source_size[2], result_size[2], before[2];
    int channels, filters; // of a group
    int steps, tiles, filter_blocks;
    fc_divider blocks;            // of filters
    fc_divider image, plane, row; // tiles of an image, of its plane, of its row
    int reserved;
    double slope; // of leaky_relu
};

// x - y; to negate y first would be to flush it.
static __device__ __forceinline__ float fc_minus(float x, float y) { return fc_fma(y, -1.f, x); }

#if KERNEL == PACK
extern "C" __global__ void __launch_bounds__(THREADS)
    winograd_pack(const float *__restrict__ weight, float *packed, const __grid_constant__ fc_winograd c) {
    const int lane = threadIdx.x % FILTERS, row = threadIdx.x / FILTERS;
    const int f = blockIdx.x * FILTERS + lane, channel = blockIdx.y * CHANNELS + row, group = blockIdx.z;
    const bool there = f < c.filters && channel < c.channels;
    weight += c.weight_at + group * c.weight_group_stride;
    if (there) weight += f * c.weight_stride[0] + channel * c.weight_stride[1];
    float half[4][3]; // G g
#pragma unroll
    for (int w = 0; w < 3; w++) {
        float g[3];
#pragma unroll
        for (int h = 0; h < 3; h++) g[h] = there ? weight[h * c.weight_stride[3] + w * c.weight_stride[4]] : 0.f;
        const float even = fc_plus(g[0], g[2]);
        half[0][w] = g[0];
        half[1][w] = fc_fma(fc_plus(even, g[1]), 0.5f, 0.f);
        half[2][w] = fc_fma(fc_minus(even, g[1]), 0.5f, 0.f);
        half[3][w] = g[2];
    }
    packed += (((long long)group * c.filter_blocks + blockIdx.x) * c.steps + blockIdx.y) * (POINTS * CHANNELS * FILTERS);
    packed += row * FILTERS + lane;
#pragma unroll
    for (int h = 0; h < 4; h++) {
        const float even = fc_plus(half[h][0], half[h][2]);
        float *to = packed + h * 4 * (CHANNELS * FILTERS);
        to[0] = half[h][0];
        to[1 * CHANNELS * FILTERS] = fc_fma(fc_plus(even, half[h][1]), 0.5f, 0.f);
        to[2 * CHANNELS * FILTERS] = fc_fma(fc_minus(even, half[h][1]), 0.5f, 0.f);
        to[3 * CHANNELS * FILTERS] = half[h][2];
    }
}
#endif

#if KERNEL == CORRELATE
struct fc_tile {
    int n, d, h, w; // h, w: of its first result
};
static __device__ __forceinline__ fc_tile fc_tile_of(int tile, const fc_winograd &c) {
    fc_tile at;
    at.n = fc_quotient(tile, c.image);
    tile -= at.n * (int)c.image.d;
    at.d = fc_quotient(tile, c.plane);
    tile -= at.d * (int)c.plane.d;
    at.h = fc_quotient(tile, c.row);
    at.w = 2 * (tile - at.h * (int)c.row.d);
    at.h *= 2;
    return at;
}
static __device__ __forceinline__ long long fc_offset(const fc_tile &at, int channel, const long long (&stride)[5]) {
    return at.n * stride[0] + channel * stride[1] + at.d * stride[2] + at.h * stride[3] + at.w * stride[4];
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    winograd_correlate(const float *__restrict__ source, const float *__restrict__ packed, float *result,
                       const float *bias, const float *add, fc_u8 *marks, const __grid_constant__ fc_winograd c) {
    FC_DYNAMIC_SHARED(memory);
    typedef float filters_t[POINTS][CHANNELS][FILTERS];
    typedef float data_t[POINTS][CHANNELS][TILES];
    filters_t *filters = (filters_t *)memory; // two buffers of each
    data_t *data = (data_t *)(memory + 2 * sizeof(filters_t));
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, lower = warp / CHANNELS;
    const int tile_block = fc_quotient(blockIdx.x, c.blocks), filter_block = blockIdx.x - tile_block * c.blocks.d;
    const int group = blockIdx.y;

    // The thread's tile and channel: which of its 12 elements there are, and where the next ones are fetched. The upper
    // half of the points needs the tile's rows 0, 1 and 2, the lower one 1, 2 and 3.
    fc_u32 inside = 0;
    const float *from = source;
    {
        const int tile = tile_block * TILES + lane;
        fc_tile at = fc_tile_of(tile < c.tiles ? tile : 0, c);
        at.h += lower - c.before[0], at.w -= c.before[1];
        from += fc_offset(at, group * c.channels + warp % CHANNELS, c.source_stride);
#pragma unroll
        for (int i = 0; i < 12; i++) {
            const bool there = (fc_u32)(at.h + i / 4) < (fc_u32)c.source_size[0] &&
                               (fc_u32)(at.w + i % 4) < (fc_u32)c.source_size[1];
            inside |= (fc_u32)there << i;
        }
        if (tile >= c.tiles) inside = 0;
    }
    const offset_t row = c.source_stride[3], column = CONTIGUOUS ? 1 : c.source_stride[4];
    float x[3][4];
    auto fetch = [&](int step) {
        const bool there = step * CHANNELS + warp % CHANNELS < c.channels;
#pragma unroll
        for (int i = 0; i < 12; i++)
            x[i / 4][i % 4] = there && (inside >> i & 1) ? from[i / 4 * row + i % 4 * column] : 0.f;
        from += CHANNELS * c.source_stride[1];
        float *to = &filters[step & 1][0][0][0] + threadIdx.x * 4;
        const long long block = (long long)group * c.filter_blocks + filter_block;
        const float *packed_from = packed + (block * c.steps + step) * (POINTS * CHANNELS * FILTERS) + threadIdx.x * 4;
#pragma unroll
        for (int i = 0; i < POINTS * CHANNELS * FILTERS; i += 4 * THREADS) fc_copy_async<16>(to + i, packed_from + i, 16);
        fc_copy_commit();
    };
    auto transform = [&](int step) {
        float half[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) { // B^T d: rows d0 - d2, d1 + d2; or d2 - d1, d1 - d3
            half[0][i] = lower ? fc_minus(x[1][i], x[0][i]) : fc_minus(x[0][i], x[2][i]);
            half[1][i] = lower ? fc_minus(x[0][i], x[2][i]) : fc_plus(x[1][i], x[2][i]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float *to = &data[step & 1][lower * 8 + i * 4][warp % CHANNELS][lane];
            to[0] = fc_minus(half[i][0], half[i][2]);
            to[1 * CHANNELS * TILES] = fc_plus(half[i][1], half[i][2]);
            to[2 * CHANNELS * TILES] = fc_minus(half[i][2], half[i][1]);
            to[3 * CHANNELS * TILES] = fc_minus(half[i][1], half[i][3]);
        }
    };

    // The thread's filters: lane / 4 * 4 + (0 .. 3) and 32 more; its tiles: lane % 4 * 4 + (0 .. 3) and 16 more.
    float sum[8][8] = {};
    fetch(0);
    transform(0);
    fc_copy_wait<0>();
    __syncthreads(); // the first step is there
    for (int step = 0; step < c.steps; step++) {
        if (step + 1 < c.steps) fetch(step + 1);
#pragma unroll UNROLLED
        for (int k = 0; k < CHANNELS; k++) {
            const float *a = &filters[step & 1][warp][k][lane / 4 * 4], *b = &data[step & 1][warp][k][lane % 4 * 4];
            float of_filters[8], of_tiles[8];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                *(float4 *)&of_filters[4 * i] = *(const float4 *)(a + 32 * i);
                *(float4 *)&of_tiles[4 * i] = *(const float4 *)(b + 16 * i);
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sum[i][j] = fc_fma(of_filters[i], of_tiles[j], sum[i][j]);
        }
        if (step + 1 < c.steps) transform(step + 1);
        fc_copy_wait<0>();
        __syncthreads(); // the next step is there, and nobody reads this one
    }

    // Points are put together by way of shared memory, for 16 filters at a time: two of each thread's.
    bool finite = true;
    float(*points)[16][TILES] = (float(*)[16][TILES])memory;
    const int thread = fc_thread_index(), own_lane = thread % 32, own_warp = thread / 32, own_group = fc_block_index(1);
    const int tile_block_again = fc_quotient(fc_block_index(0), c.blocks), tile = tile_block_again * TILES + own_lane;
    const int first_filter = (fc_block_index(0) - tile_block_again * (int)c.blocks.d) * FILTERS;
    const fc_tile at = fc_tile_of(tile < c.tiles ? tile : 0, c);
#pragma unroll
    for (int pass = 0; pass < 4; pass++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            *(float4 *)&points[own_warp][own_lane / 4 * 2 + i / 2][i % 2 * 16 + own_lane % 4 * 4] =
                *(const float4 *)&sum[2 * pass + i / 2][i % 2 * 4];
        __syncthreads(); // the points
        const int f = first_filter + pass / 2 * 32 + own_warp / 2 * 4 + pass % 2 * 2 + own_warp % 2;
        float half[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) { // A^T m
            const float m0 = points[i][own_warp][own_lane], m1 = points[4 + i][own_warp][own_lane], m2 = points[8 + i][own_warp][own_lane];
            half[0][i] = fc_plus(fc_plus(m0, m1), m2);
            half[1][i] = fc_minus(fc_minus(m1, m2), points[12 + i][own_warp][own_lane]);
        }
        if (f < c.filters && tile < c.tiles) {
            const int channel = own_group * c.filters + f;
            const long long to = fc_offset(at, channel, c.result_stride), added = fc_offset(at, channel, c.add_stride);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int h = i / 2, w = i % 2;
                if (at.h + h >= c.result_size[0] || at.w + w >= c.result_size[1]) continue;
                float z = w ? fc_minus(fc_minus(half[h][1], half[h][2]), half[h][3])
                            : fc_plus(fc_plus(half[h][0], half[h][1]), half[h][2]);
                finite &= (__float_as_uint(z) >> 23 & 255) != 255;
                if (bias) z = fc_plus(z, bias[channel]);
                if (add) z = fc_plus(z, add[added + h * c.add_stride[3] + w * c.add_stride[4]]);
                result[to + h * c.result_stride[3] + w * c.result_stride[4]] = fc_activate(z, (float)c.slope);
            }
        }
        __syncthreads(); // they are read
    }
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) marks[blockIdx.y * gridDim.x + blockIdx.x] = !finite;
}
#endif
