// Transforms of Winograd's minimal filtering, in strict float32, where products lie between launches of their own.
//
// Formula. With the matrices of both axes of a tile, L and R,
//     points_from_tiles   L d R^T for tiles d of an array (of 6 x 6 elements, say), with zeros outside of it
//     tiles_from_points   L m R^T for the sums m of products, those of several parts added first
// An array is data, with some tiles in an image, or weights: a filter is an image of one tile.
//
// Layout. Any strides. Of each point there is a matrix for every part and group, of (tile, channel) or (channel, tile):
// lanes go along what lies side by side in the array, and write matrices of contiguous rows. A thread has one tile of
// one channel. Tiles behind the last one are zeros, so that matrices have whole vectors.
// Preconditions. Fewer than 2^31 threads; places of elements fit in 32 bits, and unless WIDE so do a tile's offsets.
// Numerics. A coefficient is one FMA, subnormal numbers and all. `marks`: a byte for every block is 1 if a result is
// not finite, before the epilogue, else 0.
#define POINTS_FROM_TILES 0
#define TILES_FROM_POINTS 1
#define TILES 0
#define CHANNELS 1
#define THREADS 128
#if WIDE
typedef long long offset_t;
#else
typedef int offset_t; // from a tile's first element to any of it
#endif

struct fc_tiles {
    long long stride[5], add_stride[5]; // n, channel, d, h, w
    long long at, group_stride, add_group_stride;
    long long point_stride, part_stride, matrix_stride, tile_stride, channel_stride; // matrices: of groups
    int size[2], before[2];
    int channels, first, tiles; // of a group; the first tile of the launch, and behind the last one
    int threads, parts, rounds; // of threads that a block has
    int reserved;
    fc_divider inner, part, image, plane, row; // threads side by side; tiles of a part, an image, its plane and its row
    double slope;                              // of leaky_relu
};

struct fc_tile {
    int n, d, h, w; // h, w: of its first element, without padding
};
static __device__ __forceinline__ fc_tile fc_tile_of(int tile, const fc_tiles &c) {
    fc_tile at;
    at.n = fc_quotient(tile, c.image);
    tile -= at.n * (int)c.image.d;
    at.d = fc_quotient(tile, c.plane);
    tile -= at.d * (int)c.plane.d;
    at.h = fc_quotient(tile, c.row);
    at.w = (tile - at.h * (int)c.row.d) * STEP_W - c.before[1];
    at.h = at.h * STEP_H - c.before[0];
    return at;
}
static __device__ __forceinline__ long long fc_offset(const fc_tile &at, int channel, const long long (&stride)[5]) {
    return at.n * stride[0] + channel * stride[1] + at.d * stride[2] + at.h * stride[3] + at.w * stride[4];
}

// The thread's tile among those of the launch, and its channel; false: it has none.
static __device__ __forceinline__ bool fc_thread_of(int thread, int &tile, int &channel, const fc_tiles &c) {
    const int outer = fc_quotient(thread, c.inner);
    const int inner = thread - outer * (int)c.inner.d;
    tile = LANES == TILES ? inner : outer;
    channel = LANES == TILES ? outer : inner;
    return thread < c.threads;
}
static __device__ __forceinline__ long long fc_matrix_offset(int tile, int channel, const fc_tiles &c) {
    const int part = fc_quotient(tile, c.part);
    return part * c.part_stride + blockIdx.y * c.matrix_stride + (tile - part * (int)c.part.d) * c.tile_stride +
           channel * c.channel_stride;
}

#if VECTORS
struct __align__(4 * TO_W) fc_row {
    float x[TO_W];
};
#endif
static __device__ constexpr float left[TO_H][FROM_H] = LEFT, right[TO_W][FROM_W] = RIGHT;

// Row i of L d, as far as column j.
template <typename Tile> static __device__ __forceinline__ float fc_left(const Tile &d, int i, int j) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < FROM_H; k++)
        if (left[i][k] != 0) sum = fc_fma(left[i][k], d[k][j], sum);
    return sum;
}
// Column j of d R^T, d a row.
static __device__ __forceinline__ float fc_right(const float (&row)[FROM_W], int j) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < FROM_W; k++)
        if (right[j][k] != 0) sum = fc_fma(right[j][k], row[k], sum);
    return sum;
}

#if KERNEL == POINTS_FROM_TILES
extern "C" __global__ void __launch_bounds__(THREADS)
    points_from_tiles(const float *__restrict__ source, float *points, const __grid_constant__ fc_tiles c) {
    int tile, channel;
    if (!fc_thread_of(blockIdx.x * THREADS + threadIdx.x, tile, channel, c)) return;
    const bool there = c.first + tile < c.tiles;
    const fc_tile at = fc_tile_of(there ? c.first + tile : 0, c);
    const float *from = source + (c.at + blockIdx.y * c.group_stride + fc_offset(at, channel, c.stride));
    const offset_t row = c.stride[3], column = CONTIGUOUS ? 1 : c.stride[4];
    float d[FROM_H][FROM_W];
#pragma unroll
    for (int i = 0; i < FROM_H; i++)
#pragma unroll
        for (int j = 0; j < FROM_W; j++) {
            const bool inside = there && (fc_u32)(at.h + i) < (fc_u32)c.size[0] && (fc_u32)(at.w + j) < (fc_u32)c.size[1];
            d[i][j] = inside ? from[i * row + j * column] : 0.f;
        }
    points += fc_matrix_offset(tile, channel, c);
#pragma unroll
    for (int i = 0; i < TO_H; i++) {
        float half[FROM_W];
#pragma unroll
        for (int j = 0; j < FROM_W; j++) half[j] = fc_left(d, i, j);
#pragma unroll
        for (int j = 0; j < TO_W; j++) points[(i * TO_W + j) * c.point_stride] = fc_right(half, j);
    }
}
#endif

#if KERNEL == TILES_FROM_POINTS
// Stores the thread's results of a tile; whether all are finite.
static __device__ __forceinline__ bool fc_finish(const float (&m)[FROM_H][FROM_W], float *result, const float *bias,
                                                 const float *add, int tile, int channel, const fc_tiles &c) {
    const fc_tile at = fc_tile_of(tile, c);
    result += c.at + blockIdx.y * c.group_stride + fc_offset(at, channel, c.stride);
    if (add) add += blockIdx.y * c.add_group_stride + fc_offset(at, channel, c.add_stride);
    const float shift = bias ? bias[blockIdx.y * c.channels + channel] : 0.f;
    bool finite = true;
#pragma unroll
    for (int i = 0; i < TO_H; i++) {
        if (at.h + i >= c.size[0]) continue;
        float half[FROM_W];
#if VECTORS
        fc_row row;
#endif
#pragma unroll
        for (int j = 0; j < FROM_W; j++) half[j] = fc_left(m, i, j);
#pragma unroll
        for (int j = 0; j < TO_W; j++) {
            if (!VECTORS && at.w + j >= c.size[1]) continue;
            float z = fc_right(half, j);
            finite &= (__float_as_uint(z) >> 23 & 255) != 255;
            if (bias) z = fc_plus(z, shift);
            if (add) z = fc_plus(z, add[i * c.add_stride[3] + j * c.add_stride[4]]);
            z = fc_activate(z, (float)c.slope);
#if VECTORS
            row.x[j] = z;
#else
            result[i * c.stride[3] + j * c.stride[4]] = z;
#endif
        }
#if VECTORS // tiles' rows are whole
        *(fc_row *)(result + i * c.stride[3]) = row;
#endif
    }
    return finite;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    tiles_from_points(const float *__restrict__ points, float *result, const float *bias, const float *add, fc_u8 *marks,
                      const __grid_constant__ fc_tiles c) {
    bool finite = true;
    for (int round = 0; round < c.rounds; round++) {
        int tile, channel;
        if (!fc_thread_of((blockIdx.x * c.rounds + round) * THREADS + threadIdx.x, tile, channel, c)) continue;
        if (c.first + tile >= c.tiles) continue;
        const float *from = points + (blockIdx.y * c.matrix_stride + tile * c.tile_stride + channel * c.channel_stride);
        float m[FROM_H][FROM_W];
#pragma unroll
        for (int i = 0; i < FROM_H * FROM_W; i++) m[i / FROM_W][i % FROM_W] = from[i * c.point_stride];
        if (PARTS)
            for (int part = 1; part < c.parts; part++) {
                from += c.part_stride;
#pragma unroll
                for (int i = 0; i < FROM_H * FROM_W; i++)
                    m[i / FROM_W][i % FROM_W] = fc_plus(from[i * c.point_stride], m[i / FROM_W][i % FROM_W]);
            }
        finite &= fc_finish(m, result, bias, add, c.first + tile, channel, c);
    }
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) marks[blockIdx.y * gridDim.x + blockIdx.x] = !finite;
}
#endif
