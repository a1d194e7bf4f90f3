// Weight gradients on tensor cores by mma.sync (sm_80 and later): any strides, padding, dilation and groups, in place.
//
// M = filters, N = (tap, channel), the channels of a tap filled up to whole units; reduction = pixels (n, d, h, w), BK
// of them a step. Both operands lie in shared memory as units of 16 bytes: CHUNK filters, or channels, of one pixel, as
// (chunk, pixel). Fragments have pixels along their rows' other side: ldmatrix transposes elements of 16 bits; of
// float32 a lane takes a whole unit, whose four elements belong to four tiles.
//
// A thread fetches units of one pixel a step: of whichever strides, CHUNK loads a unit; A_ALONG, B_ALONG CHANNELS: one
// asynchronous copy. The sums of a split are stored as (split, group, filter, column); add_partials.cu adds them.
//
// Numerics, preconditions: see kernels.cu.
#define PIXELS 0
#define CHANNELS 1
#define THREADS (32 * WARPS_M * WARPS_N)
#define BM (16 * MT * WARPS_M)
#define BN (8 * NT * WARPS_N)
#define STEPS (BK / DEPTH)
#define PLANES_A (BM / CHUNK)
#define PLANES_B (BN / CHUNK)
#define PITCH (BK + (ELEMENT == FLOAT32 ? 4 : 1)) // units of a chunk
#define STAGE_UNITS ((PLANES_A + PLANES_B) * PITCH)
#define APART (THREADS / BK) // a thread's chunks are so far from each other
#define HELD_A (PLANES_A / APART)
#define HELD_B (PLANES_B / APART)
#define SLOTS (STEPS * NT / 2)
#define DELAY (ELEMENT == FLOAT32 ? SLOTS / 2 : SLOTS / 4) // so many are on their way, in registers
#define PER_SLOT ((HELD_A + HELD_B + SLOTS - 1) / SLOTS)
// Threads that take chunks of the same pixel one after the other: lines of channels are read whole.
#define SIDE (A_ALONG == CHANNELS || B_ALONG == CHANNELS ? APART : 1)

// What a chunk of columns is: a tap of CHUNK channels.
struct __align__(16) fc_taken {
    int d, h, w, channel;
};

// Row r of the lane's tile i in the warp's part of A, and column c of its tile j in B; see the top.
static __device__ __forceinline__ int fc_row_in_tile(int i, int r) {
    return ELEMENT == FLOAT32 ? i / 2 * 32 + r % 8 * 4 + i % 2 * 2 + r / 8 : i * 16 + r;
}
static __device__ __forceinline__ int fc_column_in_tile(int j, int c) {
    return ELEMENT == FLOAT32 ? j / 4 * 32 + c * 4 + j % 4 : j * 8 + c;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ result, void *weight,
                    unsigned char *marks, const __grid_constant__ fc_correlation c,
                    const __grid_constant__ fc_gemm gemm) {
    FC_DYNAMIC_SHARED(shared);
    fc_taken *taken = (fc_taken *)(shared + STAGES * STAGE_UNITS * 16);
    offset_t *taken_at = (offset_t *)(taken + PLANES_B);
    const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5, group = blockIdx.y;
    const int tile_n = fc_quotient(blockIdx.x, gemm.filter_tiles);
    const int first_m = (blockIdx.x - tile_n * gemm.filter_tiles.d) * BM, first_n = tile_n * BN;
    const int begin = blockIdx.z * gemm.depth_of_split, end = min(begin + gemm.depth_of_split, gemm.depth);
    const int steps = (end - begin + BK - 1) / BK;
    for (int i = thread; i < PLANES_B; i += THREADS) {
        const bool there = first_n + i * CHUNK < gemm.columns;
        const fc_column at = fc_column_of(there ? first_n + i * CHUNK : 0, gemm);
        const int d = at.d * c.delta[0], h = at.h * c.delta[1], w = at.w * c.delta[2];
        taken[i] = {d, h, w, there ? at.channel : c.channels};
        taken_at[i] = (offset_t)((there ? at.channel : 0) * c.source_stride[1] + d * c.source_stride[2] +
                                 h * c.source_stride[3] + w * c.source_stride[4]);
    }
    __syncthreads(); // the table

    // -- what is fetched: of one pixel, every APART-th chunk
    const int pixel = thread / SIDE % BK, plane = SIDE > 1 ? thread % SIDE : thread / BK;
    const fc_element *a_base = result + (c.result_at + (group * c.filters + first_m) * c.result_stride[1]);
    const fc_element *b_base = source + (c.source_at + group * c.channels * c.source_stride[1]);
    const offset_t a_stride = (offset_t)c.result_stride[1], b_stride = (offset_t)c.source_stride[1];
    int next = begin + pixel;
    // One chunk of CHUNK elements; `left`: those that there are, none or fewer outside; WHOLE: none or all.
    auto fetch = [&](bool is_copy, bool is_whole, fc_u32(&x)[CHUNK], unsigned char *to, const fc_element *first,
                     offset_t stride, int left) {
        if (is_copy) {
            left = min(max(left, 0), CHUNK);
            fc_copy_async<16>(to, left ? first : source, left * SIZE);
            return;
        }
        const char *from = (const char *)first;
#pragma unroll
        for (int e = 0; e < CHUNK; e++, from += stride * (long long)SIZE)
            x[e] = fc_load_bits<SIZE>(from, is_whole ? left > 0 : e < left);
    };
    struct fc_from {
        const fc_element *a, *b;
        int d, h, w;
        bool there;
    } now;
    auto open = [&] { // the pixel's places
        const fc_pixel at = fc_decode(min(next, gemm.depth - 1), gemm);
        const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                               at.w * c.step[2] + c.first[2]};
        now = {a_base + (offset_t)fc_offset(at, c.result_stride),
               b_base + (offset_t)fc_offset(from, c.source_stride),
               from.d,
               from.h,
               from.w,
               next < end};
        next += BK;
    };
    // A step's units: those of A, then those of B.
    auto fetch_unit = [&](fc_u32(&x)[CHUNK], unsigned char *stage, int unit) {
        if (unit < HELD_A) {
            const int chunk = plane + unit * APART;
            fetch(A_ALONG == CHANNELS, WHOLE_A, x, stage + (chunk * PITCH + pixel) * 16,
                  now.a + (offset_t)chunk * CHUNK * a_stride, a_stride,
                  now.there ? gemm.rows - first_m - chunk * CHUNK : 0);
        } else if (unit < HELD_A + HELD_B) {
            const int chunk = plane + (unit - HELD_A) * APART;
            const fc_taken tap = taken[chunk];
            bool inside = now.there;
            if (CHECKED & 1) inside &= (fc_u32)(now.d + tap.d) < c.source_size[0];
            if (CHECKED & 2) inside &= (fc_u32)(now.h + tap.h) < c.source_size[1];
            if (CHECKED & 4) inside &= (fc_u32)(now.w + tap.w) < c.source_size[2];
            fetch(B_ALONG == CHANNELS, WHOLE_B, x, stage + ((PLANES_A + chunk) * PITCH + pixel) * 16,
                  now.b + taken_at[chunk], b_stride, inside ? c.channels - tap.channel : 0);
        }
    };
    auto keep_unit = [&](const fc_u32(&x)[CHUNK], unsigned char *stage, int unit) {
        if (unit >= HELD_A + HELD_B || (unit < HELD_A ? A_ALONG : B_ALONG) == CHANNELS) return;
        const int chunk = plane + (unit < HELD_A ? unit : unit - HELD_A) * APART + (unit < HELD_A ? 0 : PLANES_A);
        *(uint4 *)(stage + (chunk * PITCH + pixel) * 16) = fc_unit(x);
    };

    // -- fragments
    const int warp_m = warp / WARPS_N, warp_n = warp % WARPS_N, g = lane / 4, t = lane % 4;
    auto load_rows = [&](fc_u32(&x)[MT][4], const unsigned char *stage, int k) {
        const unsigned char *from = stage + (warp_m * (16 * MT / CHUNK) * PITCH + k * DEPTH) * 16;
#if ELEMENT == FLOAT32
#pragma unroll
        for (int i = 0; i < MT; i += 2)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const uint4 unit = *(const uint4 *)(from + ((i / 2 * 8 + g) * PITCH + half * 4 + t) * 16);
                x[i][2 * half] = unit.x, x[i][2 * half + 1] = unit.y;
                x[i + 1][2 * half] = unit.z, x[i + 1][2 * half + 1] = unit.w;
            }
#else
#pragma unroll
        for (int i = 0; i < MT; i++)
            fc_ldmatrix4_transposed(x[i], from + ((i * 2 + lane / 8 % 2) * PITCH + lane / 16 * 8 + lane % 8) * 16);
#endif
    };
    auto load_columns = [&](fc_u32(&x)[NT / 2][4], const unsigned char *stage, int k) {
        const unsigned char *from = stage + ((PLANES_A + warp_n * (8 * NT / CHUNK)) * PITCH + k * DEPTH) * 16;
#if ELEMENT == FLOAT32
#pragma unroll
        for (int j = 0; j < NT; j += 4)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const uint4 unit = *(const uint4 *)(from + ((j / 4 * 8 + g) * PITCH + half * 4 + t) * 16);
                x[j / 2][half] = unit.x, x[j / 2][2 + half] = unit.y;
                x[j / 2 + 1][half] = unit.z, x[j / 2 + 1][2 + half] = unit.w;
            }
#else
#pragma unroll
        for (int j = 0; j < NT / 2; j++)
            fc_ldmatrix4_transposed(x[j], from + ((j * 2 + lane / 16) * PITCH + lane / 8 % 2 * 8 + lane % 8) * 16);
#endif
    };

    // -- the steps
    // Products of a step's SLOTS pairs of tiles take their turns with the units that are fetched: each is kept DELAY
    // slots later, those of the last slots in the next step.
    float sum[MT][NT][4] = {};
    fc_u32 held[DELAY][PER_SLOT][CHUNK] = {};
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps) {
            open();
#pragma unroll 1
            for (int unit = 0; unit < HELD_A + HELD_B; unit++) {
                fetch_unit(held[0][0], shared + i * STAGE_UNITS * 16, unit);
                keep_unit(held[0][0], shared + i * STAGE_UNITS * 16, unit);
            }
        }
        fc_copy_commit();
    }
    int from = 0;
    unsigned char *before = shared + (STAGES - 1) * STAGE_UNITS * 16; // what the step before has fetched
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        fc_copy_wait<STAGES - 2>();
        __syncthreads(); // everyone's units are there, and nobody reads the stage that is written next
        const unsigned char *stage = shared + from * STAGE_UNITS * 16;
        unsigned char *to = shared + (from == 0 ? STAGES - 1 : from - 1) * STAGE_UNITS * 16;
        open(); // behind the last ones: there are none
#if PRODUCTS == 3
        float part[MT][NT][4] = {};
#else
        float (&part)[MT][NT][4] = sum;
#endif
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
            fc_u32 x[PIECES][MT][4], y[NT / 2][4];
            load_rows(x[0], stage, k);
            load_columns(y, stage, k);
#if ELEMENT == FLOAT32
#pragma unroll
            for (int i = 0; i < MT * 4; i++) {
                const float value = __uint_as_float(x[0][i / 4][i % 4]);
                fc_split_tf32(value, x[0][i / 4][i % 4], x[PIECES - 1][i / 4][i % 4]);
            }
#endif
#pragma unroll
            for (int j = 0; j < NT / 2; j++) {
                const int slot = k * (NT / 2) + j, kept = (slot + SLOTS - DELAY) % SLOTS;
#pragma unroll
                for (int i = 0; i < PER_SLOT; i++) {
                    keep_unit(held[slot % DELAY][i], slot < DELAY ? before : to, kept * PER_SLOT + i);
                    fetch_unit(held[slot % DELAY][i], to, slot * PER_SLOT + i);
                }
                fc_multiply_pair(part, j, x, y[j]);
            }
        }
        fc_copy_commit();
        fc_add_step(sum, part);
        from = from + 1 == STAGES ? 0 : from + 1;
        before = to;
    }
    fc_copy_wait<0>();
#if MARKED
    fc_mark(sum, marks);
#endif

    // -- results
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = first_m + warp_m * (16 * MT) + fc_row_in_tile(i, g + 8 * r);
            if (row >= gemm.rows) continue;
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int column = warp_n * (8 * NT) + fc_column_in_tile(j, 2 * t + e), n = first_n + column;
                    if (n >= gemm.columns) continue;
                    const float z = sum[i][j][2 * r + e];
#if SPLIT
                    ((float *)
                         weight)[((long long)(blockIdx.z * c.groups + group) * gemm.rows + row) * gemm.columns + n] = z;
#else
                    const fc_column at = fc_column_of(n, gemm);
                    if (at.channel < c.channels)
                        ((fc_element *)weight)[c.weight_at + group * c.weight_group_stride + row * c.weight_stride[0] +
                                               FC_WEIGHT_AT(at)] = fc_narrow(z);
#endif
                }
        }
}
