// Implicit GEMM on tensor cores by mma.sync (sm_80 and later): any strides, padding, dilation and groups, in place.
//
// M = result channels, N = pixels (n, d, h, w), reduction = (tap, channel). Operands lie in shared memory as units of
// 16 bytes, CHUNK channels each, which ldmatrix reads one by one: a fragment may begin at any pixel.
//
//   pack_weights   weights as (group, tap, 2 CHUNK channels, 16 filters) in the order of fragments, see `fc_unit`
//   correlate      forward and input gradients; a launch for every stride phase
//
// Kernels of one tap on planes in one piece have pointwise.cu, which reads weights as they lie.
//
// A patch is BK channels of the source positions that a block's pixels read, (chunk, position) in shared memory.
//   BOX 0: BN pixels in a row, whatever images they are of; a patch serves one tap.
//   BOX 1: a box of pixels, height x width; a patch has all that its taps (h, w) read, columns sorted by their
//          remainder modulo the step, so that neighbouring pixels read neighbouring positions. Columns of a box run on
//          from a plane to the next one: w of the first one's, then all of the second's, ... `fc_box`
// A step multiplies BK channels of TAPS taps, one below the other: eight pixels of a row at one tap are those of the
// next row at the tap above it, and a warp, which has a STRIP of rows of eight pixels, reads each of them once.
// PIXELS: any strides; a thread loads CHUNK channels of a position and stores a unit. CHANNELS: channels are contiguous
// and aligned, units come by asynchronous copies.
//
// Numerics. Products are exact, sums float32 as tensor cores add them: rounded to zero, some at a time. PRODUCTS 1:
// elements of 16 bits, or float32 rounded to tf32. PRODUCTS 3: float32 as a sum of two tf32, without the product of the
// small ones; the sums of a step are added to those before in float32, rounded to nearest. Then what is not finite has
// no such sum, and MARKED says whether the results of a block have to be computed again. Subnormal parts and results of
// float32 may be zeros.
//
// Bytes (INT8) are multiplied as they are, each operand with or without a sign, and summed modulo 2^32; results are
// int32. With zero points x and w, of which `w` has one for each filter,
//     sum (a - x) (b - w) = sum a b - x sum b - w (sum a - count x),
// where the sums go over all taps, padding too, of which the elements are x. Each lane adds up the bytes of its
// fragments. In front of packed weights lie 256 bytes of x, which padding is copied from.
//
// Preconditions. Unless WIDE, all offsets of elements from the first one of a launch's arrays fit in 32 bits.
struct fc_box {
    fc_divider columns;      // of tiles, eight pixels each, side by side in a box
    fc_divider column_boxes; // side by side
    fc_divider width;        // of a plane, in pixels
    fc_divider depth;        // planes of an image
    fc_divider pitch, part;  // positions of a row of a patch, of one remainder in it
    fc_divider reach;        // of one remainder and one plane
    fc_divider step;         // of the columns
    fc_divider row_taps;     // of a row
    int height, positions;   // rows of a box; positions of its patch
    int planes, rows;        // all of them; of a plane
    int turns;               // steps of a patch, 1 without boxes
};
#if ELEMENT == INT8
#define ZERO_POINTS , int source_zero, const short *__restrict__ filter_zeros
#define FRONT_BYTES 256 // in front of packed weights
#else
#define ZERO_POINTS
#define FRONT_BYTES 0
#endif
#define PACK 0
#define CORRELATE 1
#define PIXELS 0
#define CHANNELS 1

#define THREADS (32 * WARPS_M * WARPS_N)
#define BM (16 * MT * WARPS_M)
#define BN (8 * NT * WARPS_N)
#define STEPS (BK / DEPTH)
#define CHUNKS (BK / CHUNK)
#define TILE_BYTES (PIECES * 512) // of 16 filters x DEPTH channels
#define STAGE_BYTES (TAPS * STEPS * BM / 16 * TILE_BYTES)
#define PLANE (POSITIONS + 2) // units of a chunk; the 2: other banks for the next chunk
#define PATCH_BYTES (CHUNKS * PLANE * 16)

#if KERNEL == PACK
#define EXPONENT (ELEMENT == FLOAT32 ? 0x7f800000u : ELEMENT == FLOAT16 ? 0x7c00u : 0x7f80u)

// A thread per unit of a tile of 16 filters x DEPTH channels, every gridDim.z-th tap. A unit is what a lane takes of a
// fragment of A: rows g and g + 8, in words of channels. Row r of tile i of a warp is filter (r % 8) 2 MT + 2 i + r /
// 8, so that a lane's results are neighbours. With MARKED there is a byte for every block in front, a multiple of 256
// of them: whether one of its weights is not finite.
extern "C" __global__ void __launch_bounds__(128)
    pack_weights(const fc_element *__restrict__ weight, fc_element *packed, const __grid_constant__ fc_correlation c,
                 const __grid_constant__ fc_gemm gemm ZERO_POINTS) {
#if ELEMENT == INT8
    if (blockIdx.x + blockIdx.y + blockIdx.z == 0)
        for (int i = threadIdx.x; i < FRONT_BYTES; i += 128) packed[i] = source_zero;
    packed += FRONT_BYTES;
#endif
    const int unit = blockIdx.x * 128 + threadIdx.x, lane = unit % 32, tiles = gemm.padded_filters / 16;
    const int tile = unit / 32 % tiles, k0 = unit / 32 / tiles * DEPTH, group = blockIdx.y;
    const bool stored = k0 < gemm.padded_channels;
    bool finite = true;
#if MARKED
    const fc_u32 blocks = gridDim.x * gridDim.y * gridDim.z;
    unsigned char *mark = (unsigned char *)packed + (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    packed = (fc_element *)((char *)packed + (blocks + 255) / 256 * 256);
#endif
    const int first = tile / MT * (16 * MT) + lane / 4 * (2 * MT) + tile % MT * 2; // the filter of row g; + 1: g + 8
    const int per_word = 4 / SIZE, matrix = gemm.padded_channels * gemm.padded_filters * PIECES;
    const int taps = c.taps[0] * c.taps[1] * c.taps[2];
    weight += c.weight_at + group * c.weight_group_stride;
    packed += (long long)group * taps * matrix + ((long long)(k0 / DEPTH) * tiles + tile) * (TILE_BYTES / SIZE) +
              lane * CHUNK;
    for (int tap = blockIdx.z; tap < taps; tap += gridDim.z) {
        const int d = fc_quotient(tap, gemm.plane_taps), in_plane = tap - d * gemm.plane_taps.d;
        const int h = fc_quotient(in_plane, gemm.row_taps), w = in_plane - h * gemm.row_taps.d;
        const fc_element *of_tap = weight + (d * c.weight_stride[2] + h * c.weight_stride[3] + w * c.weight_stride[4]);
        fc_u32 x[CHUNK];
#pragma unroll
        for (int e = 0; e < CHUNK; e++) {
            const int word = e / per_word, f = first + word % 2;
            const int k = k0 + word / 2 * CHUNK + lane % 4 * per_word + e % per_word;
            x[e] = fc_load_bits<SIZE>(of_tap + (f * c.weight_stride[0] + k * c.weight_stride[1]),
                                      f < c.filters && k < c.channels);
        }
#pragma unroll
        for (int e = 0; e < CHUNK; e++) finite &= (x[e] & EXPONENT) != EXPONENT;
        if (!stored) continue;
        uint4 *to = (uint4 *)(packed + (long long)tap * matrix);
#if ELEMENT == FLOAT32
        fc_u32 small[CHUNK];
#pragma unroll
        for (int e = 0; e < CHUNK; e++) fc_split_tf32(__uint_as_float(x[e]), x[e], small[e]);
        if (PIECES == 2) to[32] = fc_unit(small);
#endif
        *to = fc_unit(x);
    }
#if MARKED
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) *mark = !finite;
#endif
}
#endif

#if KERNEL == CORRELATE
#define SPREAD (BOX || ALONG == CHANNELS || POSITIONS % THREADS != 0) // each unit of a thread is of another position
#define UNITS ((POSITIONS * CHUNKS + THREADS - 1) / THREADS)          // that a thread fills of a patch
#define HELD (SPREAD ? UNITS : UNITS / CHUNKS)                        // positions of a thread
#define STRIP (TAPS > 1 ? NT : 1)                                     // tiles of a warp that are below each other
#define FRAGMENTS (NT + TAPS - 1)                                     // of the patch, eight pixels each
#define PADDING (SOURCE_ZERO ? packed : source)                       // where units are copied from
#define FEW_UNITS (CHUNK > 8 ? 4 : 8)
#define AT_ONCE (UNITS < FEW_UNITS ? UNITS : FEW_UNITS) // units that a thread fetches of the first patch

#if BOX
// The first column of the block's box: a plane and the column in it.
struct fc_corner {
    int row, column, plane, w;
};
static __device__ __forceinline__ fc_corner fc_corner_of(int tile, const fc_box &box) {
    fc_corner at;
    const int y = fc_quotient(tile, box.column_boxes);
    at.row = y * box.height;
    at.column = (tile - y * box.column_boxes.d) * box.columns.d * 8;
    at.plane = fc_quotient(at.column, box.width);
    at.w = at.column - at.plane * box.width.d;
    return at;
}
// The row of a tile of a box, and its first column.
static __device__ __forceinline__ int2 fc_tile_of(int tile, const fc_box &box) {
    const int strip = tile / STRIP, y = fc_quotient(strip, box.columns);
    return make_int2(y * STRIP + tile % STRIP, (strip - y * (int)box.columns.d) * 8);
}
#endif

// The pixel of a column of the block's tile; n < 0: there is none.
static __device__ __forceinline__ fc_pixel fc_tile_pixel(int column, int tile, const fc_gemm &gemm, const fc_box &box) {
#if BOX
    const fc_corner corner = fc_corner_of(tile, box);
    const int2 in_box = fc_tile_of(column / 8, box);
    const int x = corner.column + in_box.y + column % 8, plane = fc_quotient(x, box.width);
    fc_pixel at = {(int)fc_quotient(plane, box.depth), plane, corner.row + in_box.x, x - plane * (int)box.width.d};
    at.d -= at.n * (int)box.depth.d;
    if (at.h >= box.rows || plane >= box.planes) at.n = -1;
#else
    fc_pixel at = fc_decode(min(tile * BN + column, gemm.columns - 1), gemm);
    if (tile * BN + column >= gemm.columns) at.n = -1;
#endif
    return at;
}

#if SOURCE_ZERO || FILTER_ZEROS
// The sum over the four lanes that share a row of A or a column of B.
static __device__ __forceinline__ int fc_four_lanes(int z) {
    z = fc_plus(z, __shfl_xor_sync(~0u, z, 1));
    return fc_plus(z, __shfl_xor_sync(~0u, z, 2));
}
#endif

// A position's place in its plane: eight pixels of a fragment, two neighbours out of every four, in different banks.
static __device__ __forceinline__ int fc_slot(int position) {
    return LANE_COLUMNS == 4 ? position ^ (position >> 2 & 2) : position;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    correlate(const fc_element *__restrict__ source, const fc_element *__restrict__ packed, void *result,
              const fc_element *__restrict__ bias, const fc_element *add, unsigned char *marks,
              const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm,
              const __grid_constant__ fc_box box ZERO_POINTS) {
    FC_DYNAMIC_SHARED(shared);
    unsigned char *patches = shared + STAGES * STAGE_BYTES;
    offset_t *result_at = (offset_t *)(patches + PATCHES * PATCH_BYTES), *add_at = result_at + BN;
    offset_t *from_at = add_at + (HAS_ADD ? BN : 0);     // of the positions that this thread fetches, for one tap
    offset_t *source_at = from_at + HELD * THREADS;      // of the pixels' first taps
    int *first = (int *)(source_at + (BOX ? 0 : BN));    // and their (d, h, w)
    int2 *tap_at = (int2 *)(source_at + (BOX ? 0 : BN)); // of the turns of a box: where weights and positions are
    const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
    const int tile = fc_quotient(blockIdx.x, gemm.filter_tiles),
              first_m = (blockIdx.x - tile * gemm.filter_tiles.d) * BM;
    for (int i = thread; i < BN; i += THREADS) {
        fc_pixel at = fc_tile_pixel(i, tile, gemm, box);
        const bool there = at.n >= 0;
        if (!there) at.n = 0, at.d = 0, at.h = 0, at.w = 0;
        const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                               at.w * c.step[2] + c.first[2]};
        const offset_t to = SPLIT ? (offset_t)fc_column_number(at, gemm) : (offset_t)fc_offset(at, c.result_stride);
        result_at[i] = there ? to : OUTSIDE;
        if (HAS_ADD) add_at[i] = (offset_t)fc_offset(at, c.add_stride);
        if (!BOX) {
            source_at[i] = (offset_t)fc_offset(from, c.source_stride);
            first[i] = from.d, first[BN + i] = from.h, first[2 * BN + i] = from.w;
        }
    }
    if (BOX)
        for (int i = thread; i < box.turns; i += THREADS) { // with more than one of TAPS there is one row of them
            const int h = fc_quotient(i, box.row_taps), w = i - h * box.row_taps.d;
            const int x = w * c.delta[2], column = fc_quotient(x, box.step), part = x - column * box.step.d;
            tap_at[i].x = h * (int)c.weight_stride[3] + w * (int)c.weight_stride[4];
            tap_at[i].y = h * c.delta[1] * box.pitch.d + part * box.part.d + column;
        }
    __syncthreads(); // the tables

    // -- what is fetched next: `count` patches of so many turns, one step each.
    const int begin = SPLIT ? blockIdx.z * gemm.depth_of_split : 0;
    const int count = min(gemm.depth_of_split, gemm.depth - begin);
    const int steps = count * box.turns;
    struct fc_run {
        int outer, c0; // outer: the tap, or of boxes its plane
    } a, b;
    a.outer = b.outer = SPLIT && SEVERAL ? fc_quotient(begin, gemm.channel_blocks) : 0;
    a.c0 = b.c0 = SPLIT ? (begin - a.outer * gemm.channel_blocks.d) * BK : 0;
    auto advance = [&](fc_run &run, bool is_over) { // whether the tap changes
        run.c0 += is_over ? BK : 0;
        const bool is_last = SEVERAL && run.c0 == (int)gemm.channel_blocks.d * BK;
        if (is_last) run.c0 = 0, run.outer++;
        return is_last;
    };
    int td = 0, th = 0, tw = 0;
    auto decode = [&](int outer) {
        td = fc_quotient(outer, gemm.plane_taps);
        outer -= td * gemm.plane_taps.d;
        th = fc_quotient(outer, gemm.row_taps);
        tw = outer - th * gemm.row_taps.d;
    };

    // Weights.
    const int a_units = TAPS * STEPS * BM / 16 * PIECES * 32, a_row = BM / 16 * PIECES * 32; // a_row: of DEPTH channels
    const fc_element *a_from = packed + (c.weight_at + blockIdx.y * c.weight_group_stride) +
                               ((long long)first_m / 16 * TILE_BYTES / SIZE + thread * CHUNK);
    const fc_element *a_next = a_from; // of the thread's first unit
    int a_turn = 0, weights = 0;       // of the patch; stages that are there or on their way
    auto open_weights = [&] {
        const int turn = BOX ? tap_at[a_turn].x : 0;
        decode(a.outer);
        a_next = a_from + (td * (int)c.weight_stride[2] + th * (int)c.weight_stride[3] + tw * (int)c.weight_stride[4] +
                           a.c0 * gemm.padded_filters * PIECES + turn);
    };
    auto fetch_weights = [&](int stage) { // behind the last ones: zeros that nobody reads
        unsigned char *to = shared + stage * STAGE_BYTES + thread * 16;
        const int valid = weights < steps ? 16 : 0;
#pragma unroll
        for (int i = 0; i < a_units / THREADS; i++) {
            const int row = i * THREADS / a_row, rest = i * THREADS % a_row;
            const int of_tap = TAPS > 1 ? row / STEPS * (int)c.weight_stride[3] : 0;
            fc_copy_async<16>(to + i * THREADS * 16,
                              a_next + (of_tap + row % STEPS * gemm.padded_filters * DEPTH * PIECES + rest * CHUNK),
                              valid);
        }
        a_turn++, weights++;
        const bool is_over = !BOX || a_turn == box.turns;
        a_turn = is_over ? 0 : a_turn;
        advance(a, is_over);
        open_weights();
    };

    // Patches.
    const fc_element *b_from = source + (c.source_at + (long long)blockIdx.y * c.channels * c.source_stride[1]);
    const offset_t channel_stride = (offset_t)c.source_stride[1];
    const long long channel_bytes = channel_stride * (long long)SIZE;
    auto position_of = [&](int unit) { // the position of a unit of this thread
        if (ALONG == CHANNELS) return unit * (THREADS / CHUNKS) + thread / CHUNKS;
        return SPREAD ? (unit * THREADS + thread) % POSITIONS : unit / CHUNKS * THREADS + thread;
    };
    auto chunk_of = [&](int unit) { // and its chunk, CHUNKS behind the last one
        if (ALONG == CHANNELS) return thread % CHUNKS;
        return SPREAD ? (unit * THREADS + thread) / POSITIONS : unit % CHUNKS;
    };
    auto open_patch = [&] { // where the thread's positions are, for a tap
        decode(b.outer);
#if BOX
        const fc_corner corner = fc_corner_of(tile, box);
#endif
#pragma unroll 1
        for (int i = 0; i < HELD; i++) {
            const int position = position_of(SPREAD ? i : i * CHUNKS);
            bool inside = position < (BOX ? box.positions : POSITIONS);
#if BOX
            const int row = fc_quotient(position, box.pitch), in_row = position - row * box.pitch.d;
            const int part = fc_quotient(in_row, box.part), column = in_row - part * box.part.d + corner.w;
            const int passed = fc_quotient(column, box.reach), plane = corner.plane + passed;
            fc_pixel from = {(int)fc_quotient(plane, box.depth), plane, 0, 0};
            from.d = (plane - from.n * (int)box.depth.d) * c.step[0] + c.first[0] + td * c.delta[0];
            from.h = corner.row * c.step[1] + c.first[1] + row;
            from.w = (column - passed * (int)box.reach.d) * c.step[2] + part + c.first[2];
            inside &= plane < box.planes;
            if (CHECKED & 1) inside &= (fc_u32)from.d < c.source_size[0];
            inside &= (fc_u32)from.h < c.source_size[1] && (fc_u32)from.w < c.source_size[2];
            const offset_t to = (offset_t)fc_offset(from, c.source_stride);
#else
            const int d = td * c.delta[0], h = th * c.delta[1], w = tw * c.delta[2];
            const int pixel = inside ? position : 0;
            if (CHECKED & 1) inside &= (fc_u32)(first[pixel] + d) < c.source_size[0];
            if (CHECKED & 2) inside &= (fc_u32)(first[BN + pixel] + h) < c.source_size[1];
            if (CHECKED & 4) inside &= (fc_u32)(first[2 * BN + pixel] + w) < c.source_size[2];
            const offset_t to =
                source_at[pixel] + (offset_t)(d * c.source_stride[2] + h * c.source_stride[3] + w * c.source_stride[4]);
#endif
            from_at[i * THREADS + thread] = inside ? to : OUTSIDE;
        }
    };
    // Units from `first_unit` on; PIXELS: on their way from memory into `held`; CHANNELS: into the patch.
    auto fetch_units = [&](auto &held, int first_unit, int patch, bool fetches) {
#pragma unroll
        for (int j = 0; j < (int)(sizeof(held) / sizeof(held[0])); j++) {
            const int unit = first_unit + j, chunk = chunk_of(unit), channel = b.c0 + chunk * CHUNK;
            const offset_t at = from_at[min(SPREAD ? unit : unit / CHUNKS, HELD - 1) * THREADS + thread];
            const bool inside = fetches && unit < UNITS && (!SPREAD || chunk < CHUNKS) && at != OUTSIDE;
#if ALONG == CHANNELS
            const int position = position_of(unit), left = min(max(c.channels - channel, 0), CHUNK);
            fc_copy_async_if(fetches && unit < UNITS && position < POSITIONS,
                             patches + patch * PATCH_BYTES + (chunk * PLANE + fc_slot(position)) * 16,
                             inside && left ? b_from + (at + channel) : PADDING,
                             inside || SOURCE_ZERO ? left * SIZE : 0);
#else
            const char *from = (const char *)(b_from + (at + channel * channel_stride));
#pragma unroll
            for (int e = 0; e < CHUNK; e++, from += channel_bytes) {
                const bool there = WHOLE_BLOCKS || channel + e < c.channels;
                held[j][e] = fc_load_bits<SIZE>(from, inside && there);
#if SOURCE_ZERO
                if (there && !inside) held[j][e] = source_zero & 0xff;
#endif
            }
#endif
        }
    };
    auto keep_units = [&](auto &held, int first_unit, int patch, bool fetches) {
#if ALONG == PIXELS
#pragma unroll
        for (int j = 0; j < (int)(sizeof(held) / sizeof(held[0])); j++) {
            const int unit = first_unit + j, position = position_of(unit), chunk = chunk_of(unit);
            if (fetches && unit < UNITS && (!SPREAD || chunk < CHUNKS) && position < POSITIONS)
                *(uint4 *)(patches + patch * PATCH_BYTES + (chunk * PLANE + fc_slot(position)) * 16) = fc_unit(held[j]);
        }
#endif
    };
    int fetched = 0; // patches that are there or on their way
    auto next_patch = [&] {
        fetched++;
        if (advance(b, true) && fetched < count) open_patch();
    };

    // -- fragments. ldmatrix: lane -> column lane % 8, chunk lane / 8 % 2, of the even or odd one of a pair.
    int pixels_at[(FRAGMENTS + 1) /
                  2]; // positions of the pixels that the lane gives the addresses of, at the first tap
#if BOX
    const fc_corner corner = fc_corner_of(tile, box);
#endif
#pragma unroll
    for (int j = 0; j < (FRAGMENTS + 1) / 2; j++) {
        const int of_lane = 2 * j + lane / 16; // the fragment
#if BOX
        int2 at = fc_tile_of(warp % WARPS_N * NT + (STRIP > 1 ? 0 : min(of_lane, NT - 1)), box);
        if (STRIP > 1) at.x += of_lane;
        const int w = corner.w + at.y + (lane & 7), passed = fc_quotient(w, box.width);
        pixels_at[j] =
            at.x * c.step[1] * (int)box.pitch.d + at.y + (lane & 7) + passed * (int)(box.reach.d - box.width.d);
#elif LANE_COLUMNS == 4
        pixels_at[j] = warp % WARPS_N * (8 * NT) + j * 16 + (lane & 7) / 2 * 4 + lane / 16 * 2 + (lane & 1);
#else
        pixels_at[j] = warp % WARPS_N * (8 * NT) + min(of_lane, NT - 1) * 8 + (lane & 7);
#endif
    }
    const int b_lane = (lane / 8 & 1) * PLANE * 16, a_lane = warp / WARPS_N * MT * TILE_BYTES + lane * 16;
    fc_sum sum[MT][NT][4] = {};
    auto load_weights = [&](fc_u32(&x)[PIECES][MT][4], int row, int stage) {
#pragma unroll
        for (int i = 0; i < MT * PIECES; i++) {
            const uint4 unit =
                *(const uint4 *)(shared + stage * STAGE_BYTES + a_lane + (row * BM / 16 * PIECES + i) * 512);
            fc_u32(&to)[4] = x[i % PIECES][i / PIECES];
            to[0] = unit.x, to[1] = unit.y, to[2] = unit.z, to[3] = unit.w;
        }
    };
    auto load_pixels = [&](fc_u32(&x)[FRAGMENTS][2], int k, int patch, int shift) {
        const unsigned char *from = patches + patch * PATCH_BYTES + b_lane + k * 2 * PLANE * 16;
#pragma unroll
        for (int j = 0; j < FRAGMENTS / 2; j++) {
            fc_u32 pair[4];
            fc_ldmatrix4(pair, from + fc_slot(pixels_at[j] + shift) * 16);
            x[2 * j][0] = pair[0], x[2 * j][1] = pair[1], x[2 * j + 1][0] = pair[2], x[2 * j + 1][1] = pair[3];
        }
        if (FRAGMENTS % 2) fc_ldmatrix2(x[FRAGMENTS - 1], from + fc_slot(pixels_at[FRAGMENTS / 2] + shift) * 16);
    };

#if SOURCE_ZERO
    int weight_sum[MT][2] = {}; // of a row, what the lane has of it
#endif
#if FILTER_ZEROS
    int pixel_sum[NT] = {}; // of column lane / 4, likewise
#endif

    // -- the steps
    if (steps > 0) {
        open_weights();
        open_patch();
        // The first patches, whole; where they come by asynchronous copies with the first stage of weights.
        for (; fetched < min(PATCHES - 1, count); next_patch())
#pragma unroll 1
            for (int unit = 0; unit < UNITS; unit += AT_ONCE) {
                fc_u32 many[AT_ONCE][CHUNK];
                fetch_units(many, unit, fetched, true);
                keep_units(many, unit, fetched, true);
            }
    }
    for (int i = 0; i < STAGES - 1; i++) {
        fetch_weights(i);
        fc_copy_commit();
    }
    fc_u32 held[PARTS][CHUNK];
    int stage = 0, patch = 0;
#pragma unroll 1
    for (int done = 0; done < count; done++) {
        const int to = patch == 0 ? PATCHES - 1 : patch - 1; // what is fetched meanwhile
#pragma unroll 1
        for (int turn = 0; turn < box.turns; turn++) {
            fc_copy_wait<STAGES - 2>();
            __syncthreads(); // everyone's copies are there, and nobody reads the stage and the patch written next
            const int shift = BOX ? tap_at[turn].y : 0;
            const bool fetches = fetched < count && turn * PARTS < UNITS;
#pragma unroll
            for (int k = 0; k < STEPS; k++) {
                fc_u32 x[PIECES][MT][4], y[FRAGMENTS][2];
                load_pixels(y, k, patch, shift);
#pragma unroll
                for (int t = 0; t < TAPS; t++) {
#if PRODUCTS == 3
                    fc_sum part[MT][NT][4] = {};
#else
                    fc_sum(&part)[MT][NT][4] = sum;
#endif
                    load_weights(x, t * STEPS + k, stage);
#if SOURCE_ZERO
#pragma unroll
                    for (int e = 0; e < 4 * MT; e++) // of row g, of row g + 8
                        weight_sum[e / 4][e % 2] =
                            fc_add_bytes<WEIGHT_SIGNED>(x[0][e / 4][e % 4], weight_sum[e / 4][e % 2]);
#endif
#pragma unroll
                    for (int j = 0; j < NT; j++) {
                        fc_multiply(part, j, x, y[j + t]);
#if FILTER_ZEROS
#pragma unroll
                        for (int e = 0; e < 2; e++)
                            pixel_sum[j] = fc_add_bytes<SOURCE_SIGNED>(y[j + t][e], pixel_sum[j]);
#endif
                        if (k == 0 && t == 0 && j == 0) fetch_units(held, turn * PARTS, to, fetches);
                        if (k == 0 && t == 0 && j == NT - 1) fetch_weights(stage == 0 ? STAGES - 1 : stage - 1);
                    }
                    fc_add_step(sum, part);
                }
            }
            keep_units(held, turn * PARTS, to, fetches);
            fc_copy_commit();
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            if (!BOX) break;
        }
        if (fetched < count) next_patch();
        patch = patch + 1 == PATCHES ? 0 : patch + 1;
    }
    fc_copy_wait<0>();
#if MARKED
    fc_mark(sum, marks);
#endif

    // -- results
    const int row = first_m + warp / WARPS_N * (16 * MT) + lane / 4 * (2 * MT);
    const int column = warp % WARPS_N * (8 * NT) + lane % 4 * LANE_COLUMNS;
    fc_place place = {(fc_result *)result, (offset_t)c.result_stride[1], bias, add, (offset_t)c.add_stride[1],
                      (fc_sum)c.slope};
    if (SPLIT) { // (split, group, row, column)
        place.to += ((long long)(blockIdx.z * c.groups + blockIdx.y) * gemm.rows + row) * gemm.columns;
        place.stride = gemm.columns;
    } else
        place.to += c.result_at + ((long long)blockIdx.y * c.filters + row) * c.result_stride[1];
    if (HAS_BIAS) place.bias += blockIdx.y * c.filters + row;
    if (HAS_ADD) place.add += c.add_at + ((long long)blockIdx.y * c.filters + row) * c.add_stride[1];
#if SOURCE_ZERO
#pragma unroll
    for (int f = 0; f < 2 * MT; f++) {
        const int of_row = fc_four_lanes(weight_sum[f / 2][f % 2]);
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                fc_sum &z = sum[f / 2][j][f % 2 * 2 + e];
                z = fc_fma(-source_zero, of_row, z);
            }
    }
#endif
#if FILTER_ZEROS
    const int all = SPLIT && blockIdx.z ? 0 : c.channels * c.taps[0] * c.taps[1] * c.taps[2] * source_zero;
    int zeros[2 * MT];
#pragma unroll
    for (int f = 0; f < 2 * MT; f++)
        zeros[f] = row + f < gemm.rows ? filter_zeros[blockIdx.y * c.filters + row + f] : 0;
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int of_column = fc_plus(fc_four_lanes(pixel_sum[j]), -all);
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int there = __shfl_sync(~0u, of_column, lane % 4 * 8 + e * 4);
#pragma unroll
            for (int f = 0; f < 2 * MT; f++) {
                fc_sum &z = sum[f / 2][j][f % 2 * 2 + e];
                z = fc_fma(-zeros[f], there, z);
            }
        }
    }
#endif
    fc_store_tile(sum, place, gemm.rows - row, result_at + column, add_at + column);
}
#endif
