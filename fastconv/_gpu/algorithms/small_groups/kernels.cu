// Correlations with few channels and filters in a group, rows of pixels read where they lie (NCHW), in the three
// directions. See correlation.cuh.
//
// A unit is FILTERS results at each of ROWS pixels under each other, computed by one thread; lanes take neighbouring
// columns. A block has units of one group and one run of FILTERS of its filters (blockIdx.y), so that all its threads
// multiply by the same weights: these lie in shared memory, [channel][tap][filter], and are read by all lanes at once.
// An element of the source is loaded once for all results of a unit that it reaches; neighbouring lanes read the same
// lines, which the first-level cache holds.
//
// KD, KH, KW: taps; CHANNELS: channels of a group; SD, SH, SW: steps; DD, DH, DW: distances of taps, positive. RUNS: of
// filters in a group, the last one of which may be shorter. UNIT: neighbours of a source row are neighbours in memory.
// EXACT: weights that are not finite meet no padding. Subnormal numbers stay, whatever the option -ftz says.
#define TAPS (KD * KH * KW)

// Numbers of columns, strips and result depths.
struct fc_units {
    fc_divider columns, strips, depths;
    fc_u32 count, per_split; // units; of a split of a weight gradient
    int filters;             // of a group
};

// Where a unit lies.
struct fc_unit {
    int n, depth, top, column;
    __device__ __forceinline__ fc_unit(fc_u32 index, const fc_units &u) {
        const fc_u32 line = fc_quotient(index, u.columns), slab = fc_quotient(line, u.strips);
        column = index - line * u.columns.d;
        top = (line - slab * u.strips.d) * ROWS;
        n = fc_quotient(slab, u.depths);
        depth = slab - n * u.depths.d;
    }
};

// Whether a result row of a unit reads source row `r` through some tap; and calls fold(row of results, row of taps).
template <int ROW_TAPS, typename Fold> static __device__ __forceinline__ void fc_each_tap(int r, Fold fold) {
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        if (r >= i * SH && (r - i * SH) % DH == 0 && (r - i * SH) / DH < ROW_TAPS) fold(i, (r - i * SH) / DH);
}
static __device__ __forceinline__ constexpr bool fc_row_is_read(int r, int row_taps) {
    for (int i = 0; i < ROWS; i++)
        if (r >= i * SH && (r - i * SH) % DH == 0 && (r - i * SH) / DH < row_taps) return true;
    return false;
}

static __device__ __forceinline__ fc_sum fc_element_of(const fc_element *line, bool inside, int column, int b,
                                                       const fc_correlation &c) {
    if (!inside || (fc_u32)(column + b) >= (fc_u32)c.source_size[2]) return 0;
    return fc_widen(UNIT ? line[b] : *fc_step(line, (fc_index)c.source_stride[4] * SIZE, b));
}

#if FORWARD
extern "C" __global__ void __launch_bounds__(THREADS, 3)
    small_groups(const fc_element *__restrict__ source, const fc_element *__restrict__ weight,
                 fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                 const fc_element *__restrict__ add, const __grid_constant__ fc_correlation c,
                 const __grid_constant__ fc_units units) {
    // Whole vectors: the compiler reads several filters at once, the last ones too.
    __shared__ __align__(16) fc_sum shared[(CHANNELS * (TAPS ? TAPS : 1) * FILTERS + 3) / 4 * 4];
    const int group = blockIdx.y / RUNS, run = blockIdx.y % RUNS * FILTERS; // divisions by a constant
    const int filters = min(FILTERS, units.filters - run);
    bool is_bad = false;
    for (int i = threadIdx.x; i < CHANNELS * TAPS * FILTERS; i += THREADS) {
        const int filter = i % FILTERS, kw = i / FILTERS % KW, kh = i / (FILTERS * KW) % KH;
        const int kd = i / (FILTERS * KW * KH) % KD, channel = i / (FILTERS * TAPS);
        fc_sum w = 0;
        if (filter < filters)
            w = fc_widen(weight[c.weight_at + group * c.weight_group_stride + (run + filter) * c.weight_stride[0] +
                                channel * c.weight_stride[1] + kd * c.weight_stride[2] + kh * c.weight_stride[3] +
                                kw * c.weight_stride[4]]);
        is_bad |= fc_is_larger(fc_fma(w, fc_sum(0), fc_sum(0)), fc_sum(0)); // NaN
        shared[i] = w;
    }
    const bool is_exact = __syncthreads_or(is_bad) && EXACT; // the same for all
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= units.count) return;
    const fc_unit u(index, units);
    const int top = u.top * SH + c.first[1], left = u.column * SW + c.first[2];
    fc_sum sum[ROWS][FILTERS] = {};
#pragma unroll 1
    for (int line = 0; line < CHANNELS * KD; line++) {
        const int channel = line / KD, kd = line % KD, depth = u.depth * SD + c.first[0] + kd * DD;
        const bool is_plane = (fc_u32)depth < (fc_u32)c.source_size[0];
        const fc_element *from = fc_source(source, c, u.n, group * CHANNELS + channel, depth, top, left);
        const fc_sum *w = shared + line * (KH * KW * FILTERS);
#pragma unroll
        for (int r = 0; r <= (ROWS - 1) * SH + (KH - 1) * DH; r++) {
            if (!fc_row_is_read(r, KH)) continue;
            const fc_element *row = fc_step(from, (fc_index)c.source_stride[3] * SIZE, r);
            const bool inside = is_plane && (fc_u32)(top + r) < (fc_u32)c.source_size[1];
#pragma unroll
            for (int kw = 0; kw < KW; kw++) {
                const fc_sum x = fc_element_of(row, inside, left, kw * DW, c);
                const bool exists = inside && (fc_u32)(left + kw * DW) < (fc_u32)c.source_size[2];
                if (is_exact && !exists) continue;
                fc_each_tap<KH>(r, [&](int i, int kh) {
#pragma unroll
                    for (int f = 0; f < FILTERS; f++) sum[i][f] = fc_fma(x, w[(kh * KW + kw) * FILTERS + f], sum[i][f]);
                });
            }
        }
    }
#pragma unroll
    for (int f = 0; f < FILTERS; f++) {
        if (f >= filters) break;
        const int filter = group * units.filters + run + f;
        const fc_sum biased = BIAS ? fc_widen(bias[filter]) : fc_sum(0);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (u.top + i >= c.pixels[1]) break;
            fc_sum z = sum[i][f];
            if (BIAS) z = fc_plus(z, biased);
            if (ADD)
                z = fc_plus(z, fc_widen(add[fc_place(c.add_at, c.add_stride, u.n, filter, u.depth, u.top + i, u.column)]));
            result[fc_place(c.result_at, c.result_stride, u.n, filter, u.depth, u.top + i, u.column)] =
                fc_narrow(fc_activate(z, (fc_sum)c.slope));
        }
    }
}
#endif

#if WEIGHT == 1
// The gradient of one row of taps for FILTERS filters and RUN_CHANNELS channels of a group (blockIdx.x: split, y: group,
// run of filters, run of channels, z: plane and row of taps). A split is a range of units of all images.
// Partial sums go to `partial` [split][filter][channel][tap], to be added in order.
extern "C" __global__ void __launch_bounds__(THREADS)
    small_groups_weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ gradient,
                                 fc_sum *__restrict__ partial, const __grid_constant__ fc_correlation c,
                                 const __grid_constant__ fc_units units) {
    __shared__ fc_sum shared[THREADS / 32][FILTERS * RUN_CHANNELS * KW];
    const int runs = CHANNELS / RUN_CHANNELS, group = blockIdx.y / (RUNS * runs), part = blockIdx.y % (RUNS * runs);
    const int run = part / runs * FILTERS, first_channel = part % runs * RUN_CHANNELS;
    const int filters = min(FILTERS, units.filters - run), kd = blockIdx.z / KH, kh = blockIdx.z % KH;
    const fc_u32 begin = blockIdx.x * units.per_split, end = min(begin + units.per_split, units.count);
    fc_sum sum[FILTERS][RUN_CHANNELS][KW] = {};
#pragma unroll 1
    for (fc_u32 index = begin + threadIdx.x; index < end; index += THREADS) {
        const fc_unit u(index, units);
        const int depth = u.depth * SD + c.first[0] + kd * DD, row = u.top * SH + c.first[1] + kh * DH;
        const int left = u.column * SW + c.first[2];
        const bool is_plane = (fc_u32)depth < (fc_u32)c.source_size[0];
        const fc_element *to = gradient + fc_place(c.result_at, c.result_stride, u.n, group * units.filters + run,
                                                   u.depth, u.top, u.column);
        const fc_element *from = fc_source(source, c, u.n, group * CHANNELS + first_channel, depth, row, left);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (u.top + i >= c.pixels[1]) break; // no product with what is no pixel
            const bool inside = is_plane && (fc_u32)(row + i * SH) < (fc_u32)c.source_size[1];
            const fc_element *there = fc_step(to, (fc_index)c.result_stride[3] * SIZE, i);
            const fc_element *line = fc_step(from, (fc_index)c.source_stride[3] * SIZE, i * SH);
            fc_sum dy[FILTERS];
#pragma unroll
            for (int f = 0; f < FILTERS; f++)
                dy[f] = f < filters ? fc_widen(there[f * c.result_stride[1]]) : fc_sum(0);
#pragma unroll
            for (int channel = 0; channel < RUN_CHANNELS; channel++)
#pragma unroll
                for (int kw = 0; kw < KW; kw++) {
                    const fc_sum x = fc_element_of(line + channel * c.source_stride[1], inside, left, kw * DW, c);
#pragma unroll
                    for (int f = 0; f < FILTERS; f++) sum[f][channel][kw] = fc_fma(x, dy[f], sum[f][channel][kw]);
                }
        }
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < FILTERS * RUN_CHANNELS * KW; i++) {
        const fc_sum total = fc_warp_sum(sum[i / (RUN_CHANNELS * KW)][i / KW % RUN_CHANNELS][i % KW]);
        if (lane == 0) shared[warp][i] = total;
    }
    __syncthreads(); // of all warps
    for (int i = threadIdx.x; i < FILTERS * RUN_CHANNELS * KW; i += THREADS) {
        fc_sum total = 0;
#pragma unroll
        for (int w = 0; w < THREADS / 32; w++) total = fc_plus(total, shared[w][i]);
        const int f = i / (RUN_CHANNELS * KW), channel = i / KW % RUN_CHANNELS, kw = i % KW; // by constants
        if (f < filters)
            partial[(((long long)blockIdx.x * c.groups + group) * units.filters + run + f) * (CHANNELS * TAPS) +
                    (first_channel + channel) * TAPS + (kd * KH + kh) * KW + kw] = total;
    }
}
#endif

#if WEIGHT == 2
// Adds the splits' partial sums, in ascending order; `count` is that of the weights, [filter][channel][tap].
extern "C" __global__ void __launch_bounds__(THREADS)
    small_groups_sum_splits(const fc_sum *__restrict__ partial, fc_element *__restrict__ result,
                            const __grid_constant__ fc_correlation c, fc_u32 count, fc_u32 splits) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= count) return;
    fc_sum total = 0;
    for (fc_u32 split = 0; split < splits; split++) total = fc_plus(total, partial[(long long)split * count + index]);
    const int tap = index % TAPS, channel = index / TAPS % CHANNELS, filter = index / (TAPS * CHANNELS);
    result[filter * c.weight_stride[0] + channel * c.weight_stride[1] + tap / (KW * KH) * c.weight_stride[2] +
           tap / KW % KH * c.weight_stride[3] + tap % KW * c.weight_stride[4]] = fc_narrow(total);
}
#endif
