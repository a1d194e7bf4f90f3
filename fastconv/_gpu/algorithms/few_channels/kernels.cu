// Correlations with few channels, or few filters, on tensor cores by mma.sync (sm_80 and later), read where they lie.
//
//   pack_few_channels   weights in the order of fragments
//   few_channels        forward and input gradients; all stride phases of an input gradient in one launch
//
// M = rows of the result: (filter, phase), N = pixels, reduction = (chunk of channels, channel, tap). A block computes
// a box of HEIGHT x WIDTH pixels of one plane for BM rows. It stages in shared memory what the box reads of a chunk of
// channels, a word for each position: two channels of 16 bits or one float, and multiplies straight from there: a word
// of a fragment is that of a pixel's position, plus what the word's channel and tap are away (`reach`).
//
// Phases. A pixel stands for P = PD x PH x PW neighbours of the result, its phases, each with taps of its own among
// those that they have together; the others are zeros in the packed weights. Neighbours along w are rows of one lane,
// so that it stores runs without gaps. Forward: P = 1.
//
// KD, KH, KW: taps of all phases together; SD, SH, SW: steps; DD, DH, DW: distances of taps. POSITIONS of a plane lie
// in rows of PITCH = SW parts, columns sorted by their remainder modulo SW, so that neighbouring pixels read
// neighbours.
//
// Numerics: see implicit_gemm_mma; PRODUCTS 3 adds sums of ROUNDED steps in float32. MARKED: whether a block's sums
// have to be computed again, since zeros that are no products of the definition may have met what is not finite.
#define THREADS (32 * WARPS_M * WARPS_N)
#define BM (16 * MT * WARPS_M)
#define BN (8 * NT * WARPS_N)
#define PER_WORD (ELEMENT == FLOAT32 ? 1 : 2)
#define TAPS (KD * KH * KW)
#define WORDS (CHANNEL_WORDS * TAPS) // of a chunk
#define STEPS ((WORDS + 7) / 8)
#define ROUNDED 2
#define PATCH_ROWS ((HEIGHT - 1) * SH + (KH - 1) * DH + 1)
#define COLUMNS_STAGED ((SHIFT + (WIDTH - 1) * SW + (KW - 1) * DW + LOAD) / LOAD * LOAD)
#define LOADED (LOAD == 1 ? 4 : 2)
#define PITCH (SW * PART)
#define PLANE (PATCH_ROWS * PITCH)
#define PLANES (CHANNEL_WORDS * KD)
#define ZEROS (WORDS % 8 ? (HEIGHT - 1) * SH * PITCH + WIDTH : 0) // words behind the planes, for words behind the last
#define PHASES (PD * PH * PW)
#define TILE_UNITS (32 * PIECES) // of 16 rows and a step

// Tiles of the result and where taps are: tap (number + u * slope) / distance of a phase's own is its u-th of all.
struct fc_tiles {
    fc_divider planes, plane, row;                 // tiles of an image, of a plane, of a row of tiles
    int count, blocks;                             // tiles, blocks of rows of a group
    int rows;                                      // of a group
    int number[3][8], taps[3][8], first_tap[3][8]; // by axis and phase
    int slope[3], distance[3], tap_step[3];
};

#if KERNEL == PACK
static __device__ __forceinline__ int fc_tap(const fc_tiles &tiles, int axis, int phase, int u) { // or -1
    const int at = tiles.number[axis][phase] + u * tiles.slope[axis], tap = at / tiles.distance[axis];
    if (at < 0 || at % tiles.distance[axis] || tap >= tiles.taps[axis][phase]) return -1;
    return tiles.first_tap[axis][phase] + tap * tiles.tap_step[axis];
}

// A thread per unit: what a lane takes of a fragment of A, words t and t + 4 of rows g and g + 8 of a tile of 16 rows.
// Row r of tile i of a warp is r % 8 * 2 MT + 2 i + r / 8, so that a lane's results are neighbours. Units lie as
// (group, block of rows, chunk, step, tile, piece, lane).
extern "C" __global__ void __launch_bounds__(128)
    pack_few_channels(const fc_element *__restrict__ weight, uint4 *packed, const __grid_constant__ fc_correlation c,
                      const __grid_constant__ fc_tiles tiles, int units) {
    const int unit = blockIdx.x * 128 + threadIdx.x;
    if (unit >= units) return;
    const int lane = unit % 32, tile = unit / 32 % (BM / 16), of_chunk = unit / (2 * BM) % STEPS;
    const int part = unit / (2 * BM * STEPS), chunk = part % CHUNKS, block = part / CHUNKS % tiles.blocks;
    const int group = part / CHUNKS / tiles.blocks;
    const int first = block * BM + tile / MT * (16 * MT) + lane / 4 * (2 * MT) + tile % MT * 2;
    fc_u32 x[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int row = first + e / PER_WORD % 2, word = of_chunk * 8 + lane % 4 + e / PER_WORD / 2 * 4;
        const int kw = word % KW, kh = word / KW % KH, kd = word / (KW * KH) % KD, in_chunk = word / TAPS;
        const int channel = (chunk * CHANNEL_WORDS + in_chunk) * PER_WORD + e % PER_WORD;
        const int filter = row / PHASES, phase = row % PHASES;
        const int d = fc_tap(tiles, 0, phase / (PH * PW), kd), h = fc_tap(tiles, 1, phase / PW % PH, kh);
        const int w = fc_tap(tiles, 2, phase % PW, kw);
        const bool exists = word < WORDS && channel < CHANNELS && row < tiles.rows && min(d, min(h, w)) >= 0;
        x[e] = fc_load_bits<SIZE>(weight + (group * c.weight_group_stride + filter * c.weight_stride[0] +
                                            channel * c.weight_stride[1] + d * c.weight_stride[2] +
                                            h * c.weight_stride[3] + w * c.weight_stride[4]),
                                  exists);
    }
    uint4 *to = packed + ((long long)(part * STEPS + of_chunk) * (BM / 16) + tile) * TILE_UNITS + lane;
#if ELEMENT == FLOAT32
    fc_u32 small[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) fc_split_tf32(__uint_as_float(x[e]), x[e], small[e]);
    if (PIECES == 2) to[32] = fc_unit(small);
#endif
    *to = fc_unit(x);
}
#endif

#if KERNEL == CORRELATE
// The pixel of a box, in row-major order, that is column n of a warp's tile. RUN: neighbours of one lane.
static __device__ __forceinline__ int fc_pixel_of(int tile, int n) {
    return RUN == 4 ? tile / 2 * 16 + n / 2 * 4 + tile % 2 * 2 + n % 2 : tile * 8 + n;
}
// How far the position of a column of a patch is from the first one of its row.
static __device__ __forceinline__ constexpr int fc_slot(int column) { return column % SW * PART + column / SW; }

struct fc_box {
    int n, depth, top, left; // of the first pixel
    __device__ __forceinline__ fc_box(fc_u32 tile, const fc_tiles &tiles) {
        n = fc_quotient(tile, tiles.planes);
        tile -= n * tiles.planes.d;
        depth = fc_quotient(tile, tiles.plane);
        tile -= depth * tiles.plane.d;
        const int y = fc_quotient(tile, tiles.row);
        top = y * HEIGHT;
        left = (tile - y * tiles.row.d) * WIDTH;
    }
};

// Stores LOAD words of neighbouring columns, the first of which is a multiple of LOAD.
static __device__ __forceinline__ void fc_keep(fc_u32 *row, int column, const fc_u32 (&x)[LOAD]) {
    constexpr int EACH = LOAD % SW == 0 ? LOAD / SW : 1; // words that are neighbours
#pragma unroll
    for (int e = 0; e < LOAD / EACH; e++) {
        fc_u32 *to = row + (EACH > 1 ? e * PART + column / SW : fc_slot(column + e)); // by constants
        if constexpr (EACH == 1)
            *to = x[e];
        else if constexpr (EACH == 2)
            *(uint2 *)to = make_uint2(x[e], x[e + SW]);
        else
#pragma unroll
            for (int i = 0; i < EACH; i += 4)
                fc_store_shared_four(
                    to + i, make_uint4(x[e + i * SW], x[e + (i + 1) * SW], x[e + (i + 2) * SW], x[e + (i + 3) * SW]));
    }
}

// Fills the planes of a chunk; `from` is the first position of the patch in the chunk's first channel and the first
// tap's plane of depth.
static __device__ __forceinline__ void fc_stage(fc_u32 *patch, const fc_element *from, const fc_correlation &c,
                                                int channels, int depth, int top, int left) {
    constexpr int ITEMS = PATCH_ROWS * (COLUMNS_STAGED / LOAD), EACH = (ITEMS + THREADS - 1) / THREADS;
    constexpr int HELD = PLANES < LOADED ? PLANES : LOADED; // planes and items that a thread loads at a time
    constexpr int BATCH = EACH < 2 * LOADED / HELD ? EACH : 2 * LOADED / HELD;
#pragma unroll 1
    for (int first = 0; first < PLANES; first += HELD)
#pragma unroll 1
        for (int begin = threadIdx.x; begin < ITEMS; begin += THREADS * BATCH) {
            fc_u32 x[BATCH][HELD][LOAD];
#pragma unroll
            for (int i = 0; i < BATCH; i++) {
                const int item = begin + i * THREADS, row = item / (COLUMNS_STAGED / LOAD); // by a constant
                const int column = item % (COLUMNS_STAGED / LOAD) * LOAD;
                const bool inside = (fc_u32)(top + row) < (fc_u32)c.source_size[1] &&
                                    (fc_u32)(left + column) < (fc_u32)c.source_size[2] && item < ITEMS;
                const offset_t at = row * (offset_t)c.source_stride[3] + column * (offset_t)c.source_stride[4];
#pragma unroll
                for (int p = 0; p < HELD; p++) {
                    const int plane = first + p, word = plane / KD, kd = plane % KD;
                    const bool exists =
                        inside && plane < PLANES && (fc_u32)(depth + kd * DD) < (fc_u32)c.source_size[0];
                    fc_u32 part[PER_WORD][LOAD * SIZE / 4 + 1];
#pragma unroll
                    for (int e = 0; e < PER_WORD; e++) {
                        const int channel = word * PER_WORD + e;
                        const fc_element *there = from + (at + channel * (offset_t)c.source_stride[1] +
                                                          kd * DD * (offset_t)c.source_stride[2]);
                        if constexpr (LOAD == 1) {
                            part[e][0] = fc_load_bits<SIZE>(there, exists && channel < channels);
                        } else {
                            const uint4 four = fc_load_four(there, exists && channel < channels);
                            part[e][0] = four.x, part[e][1] = four.y, part[e][2] = four.z, part[e][3] = four.w;
                        }
                    }
#pragma unroll
                    for (int v = 0; v < LOAD; v++)
                        if (PER_WORD == 1)
                            x[i][p][v] = part[0][v];
                        else if (v % 2 == 0)
                            x[i][p][v] = (part[0][v / 2] & 0xffff) | part[PER_WORD - 1][v / 2] << 16;
                        else
                            x[i][p][v] = part[0][v / 2] >> 16 | (part[PER_WORD - 1][v / 2] & 0xffff0000u);
                }
            }
#pragma unroll
            for (int i = 0; i < BATCH; i++) {
                const int item = begin + i * THREADS, row = item / (COLUMNS_STAGED / LOAD);
                if (item >= ITEMS) break;
#pragma unroll
                for (int p = 0; p < HELD; p++)
                    if (first + p < PLANES)
                        fc_keep(patch + (first + p) * PLANE + row * PITCH, item % (COLUMNS_STAGED / LOAD) * LOAD,
                                x[i][p]);
            }
        }
}

// N results at neighbouring places.
template <int N>
static __device__ __forceinline__ void fc_finish_run(float (&z)[N], fc_result *to, const fc_element *add,
                                                     const float *bias, float slope) {
    float more[N];
    if (HAS_ADD) fc_load<N>(add, more);
#pragma unroll
    for (int e = 0; e < N; e++) {
        if (HAS_BIAS) z[e] = fc_plus(z[e], bias[STORED == ROWS ? e : 0]);
        if (HAS_ADD) z[e] = fc_plus(z[e], more[e]);
        z[e] = fc_activate(z[e], slope);
    }
    fc_put<N>(to, z);
}

// Where the results of a warp's first row and column lie; rows and pixels behind the last ones are not stored.
struct fc_results {
    fc_result *to;
    const fc_element *bias, *add;
    int row, rows, depth, top, left; // rows of the group
};

static __device__ __forceinline__ void fc_store_box(const float (&sum)[MT][NT][4], const fc_results &r, int first_pixel,
                                                    const fc_correlation &c) {
    const int t = threadIdx.x % 4;
    constexpr int LINE = STORED == COLUMNS ? RUN * PW : 1, WIDEST = 16 / sizeof(fc_result);
    constexpr int VECTOR = LINE > WIDEST ? WIDEST : LINE;
    constexpr int ROWS_AT_ONCE = STORED == ROWS ? 4 : STORED == COLUMNS ? PW : 1;
    float bias[2 * MT];
#pragma unroll
    for (int f = 0; f < 2 * MT; f++)
        bias[f] = HAS_BIAS && r.row + f < r.rows ? fc_widen(r.bias[(r.row + f) / PHASES]) : 0;
#pragma unroll
    for (int j = 0; j < NT * 2 / RUN; j++)
#pragma unroll
        for (int p = 0; p < RUN; p += STORED == COLUMNS ? RUN : 1) {
            const int pixel = first_pixel + j * (4 * RUN) + t * RUN + p;
            const int y = pixel / WIDTH, column = r.left + pixel % WIDTH, line = r.top + y; // by a constant
            if (y >= HEIGHT || line * PH >= c.pixels[1] || column * PW >= c.pixels[2]) continue;
#pragma unroll
            for (int f = 0; f < 2 * MT; f += ROWS_AT_ONCE) {
                if (r.row + f >= r.rows) break;
                const int filter = (r.row + f) / PHASES, phase = (r.row + f) % PHASES;
                const int d = r.depth * PD + phase / (PH * PW), h = line * PH + phase / PW % PH,
                          w = column * PW + phase % PW;
                if (PHASES > 1 && (d >= c.pixels[0] || h >= c.pixels[1] || w >= c.pixels[2])) continue;
                fc_result *to = r.to + (filter * (offset_t)c.result_stride[1] + d * (offset_t)c.result_stride[2] +
                                         h * (offset_t)c.result_stride[3] + w * (offset_t)c.result_stride[4]);
                const fc_element *add = r.add;
                if (HAS_ADD)
                    add += filter * (offset_t)c.add_stride[1] + d * (offset_t)c.add_stride[2] +
                           (h * (offset_t)c.add_stride[3] + w * (offset_t)c.add_stride[4]);
                auto value = [&](int e) { // of the results that are stored together
                    const int y = STORED == ROWS ? f + e : f + (STORED == COLUMNS ? e % PW : 0);
                    const int x = p + (STORED == COLUMNS ? e / PW : 0);
                    const int tile = RUN == 4 ? 2 * j + x / 2 : j;
                    return sum[y / 2][tile][y % 2 * 2 + x % 2];
                };
                constexpr int ALL = STORED == ROWS ? 4 : LINE, PART_OF = STORED == ROWS ? 4 : VECTOR;
#pragma unroll
                for (int e = 0; e < ALL; e += PART_OF) {
                    float z[PART_OF];
#pragma unroll
                    for (int i = 0; i < PART_OF; i++) z[i] = value(e + i);
                    fc_finish_run<PART_OF>(z, to + e, add + e, bias + f, (float)c.slope);
                }
            }
        }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    few_channels(const fc_element *__restrict__ source, const uint4 *__restrict__ packed, fc_result *result,
                 const fc_element *__restrict__ bias, const fc_element *add, unsigned char *marks,
                 const __grid_constant__ fc_correlation c, const __grid_constant__ fc_tiles tiles) {
    FC_DYNAMIC_SHARED(shared);
    constexpr int UNITS = STEPS * (BM / 16) * TILE_UNITS;
    uint4 *weights = (uint4 *)shared;
    int2 *reach = (int2 *)(weights + UNITS);
    fc_u32 *patch = (fc_u32 *)(reach + STEPS * 4);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32, warp_m = warp / WARPS_N;
    const int group = blockIdx.y / tiles.blocks, block = blockIdx.y - group * tiles.blocks;
    for (int i = thread; i < STEPS * 8; i += THREADS) {
        const int word = i / 8 * 8 + i % 2 * 4 + i % 8 / 2;
        const int kw = word % KW, kh = word / KW % KH, plane = word / (KW * KH);
        ((int *)reach)[i] = word < WORDS ? plane * PLANE + kh * DH * PITCH + fc_slot(SHIFT + kw * DW) : PLANES * PLANE;
    }
    for (int i = thread; i < ZEROS; i += THREADS) patch[PLANES * PLANE + i] = 0;
    int position[NT]; // of this lane's pixels
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int pixel = warp % WARPS_N * (8 * NT) + fc_pixel_of(j, lane / 4);
        position[j] = pixel < HEIGHT * WIDTH ? pixel / WIDTH * (SH * PITCH) + pixel % WIDTH : 0;
    }
    source += c.source_at + (long long)group * CHANNELS * c.source_stride[1];
    packed += (long long)blockIdx.y * CHUNKS * UNITS + thread;
    const int first_filter = group * (tiles.rows / PHASES); // by a constant
    result += c.result_at + first_filter * c.result_stride[1];
    if (HAS_BIAS) bias += first_filter;
    if (HAS_ADD) add += c.add_at + first_filter * c.add_stride[1];
    float zero = 0; // but where a sum is not finite
#pragma unroll 1
    for (int tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
        const fc_box box(tile, tiles);
        const int depth = box.depth * SD + c.first[0], top = box.top * SH + c.first[1];
        const int left = box.left * SW + c.first[2] - SHIFT;
        const fc_element *from = source + (box.n * c.source_stride[0] + depth * c.source_stride[2] +
                                           top * c.source_stride[3] + left * c.source_stride[4]);
        float sum[MT][NT][4] = {}, part[MT][NT][4] = {};
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            if (chunk || tile != blockIdx.x) __syncthreads(); // what is overwritten has been read
            if (CHUNKS > 1 || tile == blockIdx.x) {
#pragma unroll 4
                for (int i = 0; i < UNITS; i += THREADS)
                    if (i + thread < UNITS) fc_copy_async<16>(weights + i + thread, packed + (chunk * UNITS + i), 16);
                fc_copy_commit();
            }
            const int first = chunk * CHANNEL_WORDS * PER_WORD;
            fc_stage(patch, from + first * c.source_stride[1], c, CHANNELS - first, depth, top, left);
            fc_copy_wait<0>();
            __syncthreads(); // the chunk is there
#pragma unroll 2
            for (int step = 0; step < STEPS; step++) {
                const int2 away = reach[step * 4 + lane % 4];
                fc_u32 a[PIECES][MT][4];
#pragma unroll
                for (int i = 0; i < MT; i++)
#pragma unroll
                    for (int piece = 0; piece < PIECES; piece++) {
                        const uint4 x = weights[((step * (BM / 16) + warp_m * MT + i) * PIECES + piece) * 32 + lane];
                        a[piece][i][0] = x.x, a[piece][i][1] = x.y, a[piece][i][2] = x.z, a[piece][i][3] = x.w;
                    }
#pragma unroll
                for (int j = 0; j < NT / 2; j++) {
                    const fc_u32 b[4] = {patch[position[2 * j] + away.x], patch[position[2 * j] + away.y],
                                         patch[position[2 * j + 1] + away.x], patch[position[2 * j + 1] + away.y]};
                    fc_multiply_pair(PRODUCTS == 3 ? part : sum, j, a, b);
                }
                if (PRODUCTS == 3 && (step % ROUNDED == ROUNDED - 1 || step == STEPS - 1)) {
                    fc_add_step(sum, part);
#pragma unroll
                    for (int i = 0; i < MT * NT * 4; i++) part[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
                }
            }
        }
#pragma unroll
        for (int i = 0; i < MT * NT * 4; i++)
            if (MARKED) zero = fc_fma(sum[i / (NT * 4)][i / 4 % NT][i % 4], 0.f, zero);
        const fc_results r = {result + box.n * c.result_stride[0],
                              bias,
                              add + (HAS_ADD ? box.n * c.add_stride[0] : 0),
                              block * BM + warp_m * (16 * MT) + lane / 4 * (2 * MT),
                              tiles.rows,
                              box.depth,
                              box.top,
                              box.left};
        fc_store_box(sum, r, warp % WARPS_N * (8 * NT), c);
    }
#if MARKED
    const bool is_spoiled = __syncthreads_or(zero != 0);
    if (!thread) marks[blockIdx.y * gridDim.x + blockIdx.x] = is_spoiled;
#endif
}
#endif
