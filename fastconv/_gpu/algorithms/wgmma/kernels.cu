// Convolution of 16-bit floats by the tensor copy unit and wgmma, for sm_90a alone.
//
// M = BM filters (64 for each warpgroup), N = BN pixels: a box of (w, h, d, n) of the result, reduction = (block of 64
// channels, tap). One warp has the copy unit fill a ring of STAGES stages, each with 64 channels of one tap: BM rows of
// packed weights, and the box of the source that the pixels read through the tap. Outside of the source the unit writes
// zeros, so padding costs nothing. The warpgroups multiply a stage while the next ones arrive.
//
//   pack_weights   weights as (tap, filter, channel), channels contiguous and padded to a multiple of 8
//   correlate      forward and input gradients; a launch for every stride phase
//
// Layout. ALONG CHANNELS: channels are contiguous in the source; a box is (c, w, h, d, n), each pixel a row of 128
// bytes. ALONG PIXELS: columns are contiguous; a box is (w, c, h, d, n), SPAN bytes of columns in a row (32, 64 or
// 128), as wgmma takes a B whose n is contiguous. A box may have fewer than BN pixels: sums of columns without one are
// not stored. c's strides and offsets of weights count taps of the packed ones.
//
// Preconditions. Those of tensor maps: see boxes.py. Groups have multiples of 64 channels.
//
// Numerics. Sums are float32, in the order of the tensor cores, which round towards zero; one rounding at the end.
#define PACK 0
#define CORRELATE 1
#define CHANNELS 0
#define PIXELS 1
#define FILTERS 2

#if KERNEL == PACK
// Packed weights, and in front of them, with MARKED, a byte for each block, a multiple of 256 of them: whether one of
// its weights is not finite. A thread has a pair of channels of a filter, all taps: neighbours share the lines that
// they read. Filters and channels are those of a correlation; blockIdx.y is the group.
extern "C" __global__ void __launch_bounds__(256)
    pack_weights(const fc_element *__restrict__ weight, unsigned char *packed, const __grid_constant__ fc_correlation c,
                 const fc_divider pairs) {
    const fc_u32 i = blockIdx.x * 256 + threadIdx.x, f = fc_quotient(i, pairs), channel = 2 * (i - f * pairs.d);
    const bool stored = f < (fc_u32)c.filters;
    bool finite = true;
#if MARKED
    unsigned char *mark = packed + blockIdx.y * gridDim.x + blockIdx.x;
    packed += (gridDim.x * gridDim.y + 255) / 256 * 256;
#endif
    const long long matrix = (long long)c.groups * c.filters * pairs.d;
    fc_u32 *to = (fc_u32 *)packed + ((long long)blockIdx.y * c.filters + f) * pairs.d + channel / 2;
    weight += blockIdx.y * c.weight_group_stride + f * c.weight_stride[0] + channel * c.weight_stride[1];
    if (stored)
        for (int d = 0; d < c.taps[0]; d++)
            for (int h = 0; h < c.taps[1]; h++)
                for (int w = 0; w < c.taps[2]; w++, to += matrix) {
                    const fc_element *from =
                        weight + (d * c.weight_stride[2] + h * c.weight_stride[3] + w * c.weight_stride[4]);
                    fc_u32 word = 0;
#pragma unroll
                    for (int e = 0; e < 2; e++)
                        if (channel + e < c.channels) {
                            const fc_element x = from[e * c.weight_stride[1]];
                            finite &= fc_widen(x) * 0 == 0;
                            word |= (fc_u32)x << 16 * e;
                        }
                    *to = word;
                }
#if MARKED
    finite = __syncthreads_and(finite);
    if (!threadIdx.x) *mark = !finite;
#endif
}
#endif

#if KERNEL == CORRELATE
#define WARPGROUPS (BM / 64)
#define CONSUMERS (128 * WARPGROUPS) // threads
#define A_BYTES (BM * 128)
#define B_BYTES (BN * 128)
#define STAGE (A_BYTES + B_BYTES)
#define SWIZZLE_128 1
#define NOWHERE ((long long)1 << 63)

// How pixels are cut into boxes.
struct fc_boxes {
    fc_divider filter_tiles, across_w, across_h, across_d; // blocks along every axis
    fc_divider w, h, d;                                    // pixels of a box
    int n, bytes;                                          // images of a box; bytes that arrive for a stage
};

struct fc_box {
    int n, d, h, w; // the first pixel
    int first_filter;
};
static __device__ __forceinline__ fc_box fc_box_of(fc_u32 block, const fc_boxes &boxes) {
    fc_box box;
    fc_u32 at = fc_quotient(block, boxes.filter_tiles), next = fc_quotient(at, boxes.across_w);
    box.first_filter = (int)(block - at * boxes.filter_tiles.d) * BM;
    box.w = (int)((at - next * boxes.across_w.d) * boxes.w.d);
    at = fc_quotient(next, boxes.across_h);
    box.h = (int)((next - at * boxes.across_h.d) * boxes.h.d);
    next = fc_quotient(at, boxes.across_d);
    box.d = (int)((at - next * boxes.across_d.d) * boxes.d.d);
    box.n = (int)next * boxes.n;
    return box;
}

// Where the results of pixel `i` of a box lie, without the filter's part; NOWHERE for none.
static __device__ __forceinline__ void fc_place(int i, const fc_box &box, const fc_boxes &boxes,
                                                const fc_correlation &c, long long &result, long long &add) {
    fc_u32 at = i, next = fc_quotient(at, boxes.w);
    const int w = box.w + (int)(at - next * boxes.w.d);
    at = fc_quotient(next, boxes.h);
    const int h = box.h + (int)(next - at * boxes.h.d);
    next = fc_quotient(at, boxes.d);
    const int d = box.d + (int)(at - next * boxes.d.d), n = box.n + (int)next;
    result = NOWHERE;
    if ((int)next >= boxes.n || n >= c.batch || d >= c.pixels[0] || h >= c.pixels[1] || w >= c.pixels[2]) return;
    result =
        c.result_at + n * c.result_stride[0] + d * c.result_stride[2] + h * c.result_stride[3] + w * c.result_stride[4];
    add = c.add_at + n * c.add_stride[0] + d * c.add_stride[2] + h * c.add_stride[3] + w * c.add_stride[4];
}

static __device__ __forceinline__ void fc_load_results(const fc_element *from, float (&to)[8]) {
    const uint4 words = *(const uint4 *)from;
    fc_widen2(words.x, to), fc_widen2(words.y, to + 2), fc_widen2(words.z, to + 4), fc_widen2(words.w, to + 6);
}
static __device__ __forceinline__ void fc_load_results(const fc_element *from, float (&to)[1]) {
    to[0] = fc_widen(*from);
}
static __device__ __forceinline__ void fc_store_results(fc_element *to, const float (&from)[8]) {
    *(uint4 *)to = make_uint4(fc_narrow2(from), fc_narrow2(from + 2), fc_narrow2(from + 4), fc_narrow2(from + 6));
}
static __device__ __forceinline__ void fc_store_results(fc_element *to, const float (&from)[1]) {
    *to = fc_narrow(from[0]);
}

// Fills the ring: one thread. A stage is written again when all warpgroups have read it.
static __device__ __forceinline__ void fc_feed(unsigned char *ring, fc_u64 *full, fc_u64 *empty,
                                               const fc_tensor_map &source, const fc_tensor_map &weights,
                                               const fc_box &box, const fc_boxes &boxes, const fc_correlation &c) {
    const int group = blockIdx.y, filter = group * c.filters + box.first_filter;
    const int at_d = box.d * c.step[0] + c.first[0], at_h = box.h * c.step[1] + c.first[1];
    const int at_w = box.w * c.step[2] + c.first[2];
    int stage = 0, parity = 1;
    for (int channel = 0; channel < c.channels; channel += 64)
        for (int d = 0; d < c.taps[0]; d++)
            for (int h = 0; h < c.taps[1]; h++)
                for (int w = 0; w < c.taps[2]; w++) {
                    const int tap =
                        (int)(c.weight_at + d * c.weight_stride[2] + h * c.weight_stride[3] + w * c.weight_stride[4]);
                    const int z = at_d + d * c.delta[0], y = at_h + h * c.delta[1], x = at_w + w * c.delta[2];
                    unsigned char *to = ring + stage * STAGE;
                    fc_barrier_wait(&empty[stage], parity);
                    fc_barrier_expect(&full[stage], boxes.bytes);
                    fc_copy_box3(to, &weights, &full[stage], channel, filter, tap);
#if ALONG == CHANNELS
                    fc_copy_box5(to + A_BYTES, &source, &full[stage], group * c.channels + channel, x, y, z, box.n);
#else
                    fc_copy_box5(to + A_BYTES, &source, &full[stage], x, group * c.channels + channel, y, z, box.n);
#endif
                    if (++stage == STAGES) stage = 0, parity ^= 1;
                }
}

// The product of a stage: 64 channels, in four steps.
static __device__ __forceinline__ void fc_multiply(float (&sum)[BN / 2], fc_u32 stage) {
    const fc_u32 a = stage + (threadIdx.x >> 7) * 64 * 128, b = stage + A_BYTES;
#pragma unroll
    for (int k = 0; k < 4; k++) { // 16 channels: 32 bytes along a row of A, and of B ALONG CHANNELS
        const fc_u64 left = fc_matrix(a + k * 32, 16, 1024, SWIZZLE_128);
#if ALONG == CHANNELS
        fc_wgmma<0>(sum, left, fc_matrix(b + k * 32, 16, 1024, SWIZZLE_128));
#else
        fc_wgmma<1>(sum, left, fc_matrix(b + k * 16 * SPAN, 64 * SPAN, 8 * SPAN, SPAN == 128 ? 1 : SPAN == 64 ? 2 : 3));
#endif
    }
}

// Results leave by way of shared memory, as runs of RUN of them: along STORED, PIXELS or FILTERS.
#if STORED == PIXELS
#define PITCH (BN + 8)  // floats; every pitch spreads a warp's stores over all banks
#define RUNS (BN / RUN) // of a row
#define ROWS BM
#else
#define PITCH (BM + 4)
#define RUNS (BM / RUN)
#define ROWS BN
#endif

static __device__ __forceinline__ void fc_stage_sums(float *staged, const float (&sum)[BN / 2]) {
    const int lane = threadIdx.x & 31, m = (threadIdx.x >> 5) * 16 + lane / 4, n = lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < BN / 2; j += 2) { // two columns of a row
        const int row = m + (j & 2) * 4, column = n + j / 4 * 8;
#if STORED == PIXELS
        *(float2 *)(staged + row * PITCH + column) = make_float2(sum[j], sum[j + 1]);
#else
        staged[column * PITCH + row] = sum[j];
        staged[(column + 1) * PITCH + row] = sum[j + 1];
#endif
    }
}

static __device__ __forceinline__ void fc_store_tile(const float *staged, const long long *result_at,
                                                     const long long *add_at, int first_filter,
                                                     fc_element *__restrict__ result,
                                                     const fc_element *__restrict__ bias,
                                                     const fc_element *__restrict__ add, const fc_correlation &c) {
    for (int i = threadIdx.x; i < ROWS * RUNS; i += CONSUMERS) {
        const int row = i / RUNS, run = i % RUNS * RUN, m = STORED == PIXELS ? row : run;
        const int n = STORED == PIXELS ? run : row, f = first_filter + m;
        const long long at = result_at[n], filter = (long long)blockIdx.y * c.filters + f;
        if (at == NOWHERE || f >= c.filters) continue;
        float z[RUN], more[RUN];
#pragma unroll
        for (int e = 0; e < RUN; e++) z[e] = staged[row * PITCH + run + e];
        if (HAS_BIAS) {
#pragma unroll
            for (int e = 0; e < RUN; e++) z[e] = fc_plus(z[e], fc_widen(bias[STORED == PIXELS ? filter : filter + e]));
        }
        if (HAS_ADD) {
            fc_load_results(add + (add_at[n] + filter * c.add_stride[1]), more);
#pragma unroll
            for (int e = 0; e < RUN; e++) z[e] = fc_plus(z[e], more[e]);
        }
#pragma unroll
        for (int e = 0; e < RUN; e++) z[e] = fc_activate(z[e], (float)c.slope);
        fc_store_results(result + (at + filter * c.result_stride[1]), z);
    }
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32, RESIDENT)
    correlate(const __grid_constant__ fc_tensor_map source, const __grid_constant__ fc_tensor_map weights,
              fc_element *__restrict__ result, const fc_element *__restrict__ bias, const fc_element *__restrict__ add,
              const __grid_constant__ fc_correlation c, const __grid_constant__ fc_boxes boxes) {
    extern __shared__ unsigned char memory[]; // the ring, and up to 1023 bytes in front of it
    __shared__ fc_u64 full[STAGES], empty[STAGES];
    __shared__ long long result_at[BN], add_at[BN];
    unsigned char *ring = memory + (-fc_shared_address(memory) & 1023);
    const fc_box box = fc_box_of(blockIdx.x, boxes);

    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            fc_barrier_init(&full[i], 1);
            fc_barrier_init(&empty[i], WARPGROUPS);
        }
        fc_barrier_fence();
    }
    __syncthreads();
    if (threadIdx.x >= CONSUMERS) {
        if (threadIdx.x == CONSUMERS) fc_feed(ring, full, empty, source, weights, box, boxes, c);
        return;
    }

    for (int i = threadIdx.x; i < BN; i += CONSUMERS) fc_place(i, box, boxes, c, result_at[i], add_at[i]);
    float sum[BN / 2];
#pragma unroll
    for (int i = 0; i < BN / 2; i++) sum[i] = 0;
    const int steps = (c.channels + 63) / 64 * c.taps[0] * c.taps[1] * c.taps[2];
    int stage = 0, before = 0, parity = 0;
    for (int step = 0; step < steps; step++) {
        fc_barrier_wait(&full[stage], parity);
        fc_wgmma_fence();
        fc_multiply(sum, fc_shared_address(ring) + stage * STAGE);
        fc_wgmma_commit();
        fc_wgmma_wait<1>(); // the step before this one has been computed
        if (step > 0 && (threadIdx.x & 127) == 0) fc_barrier_arrive(&empty[before]);
        before = stage;
        if (++stage == STAGES) stage = 0, parity ^= 1;
    }
    fc_wgmma_wait<0>();

    fc_sync_threads<1, CONSUMERS>(); // nobody multiplies any more
    fc_stage_sums((float *)ring, sum);
    fc_sync_threads<1, CONSUMERS>();
    fc_store_tile((const float *)ring, result_at, add_at, box.first_filter, result, bias, add, c);
}
#endif
