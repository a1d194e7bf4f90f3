// Depthwise correlations whose channels are neighbours in memory (NHWC), in the three directions. See correlation.cuh.
//
// A unit is ROWS x COLUMNS results of VECTOR channels, computed by one thread. A block has LANES vectors of channels
// beside each other (blockIdx.y: which ones) and PLACES units of each. Units are numbered along (image, depth, band,
// column block, strip): a band is STRIPS strips of rows, so that the units of a block are a patch of few channels, with
// few neighbours outside of it and few weights. An element of the source is loaded once for all results of a unit;
// neighbouring units read it again from the first-level cache. The last strips of the last band may have no rows.
// VECTOR > 1 asks for one filter and one source channel in each group, and for arrays whose vectors of channels are
// aligned.
//
// KD, KH, KW: taps; CHANNELS: source channels of a group; FILTERS: results of a group; SD, SH, SW: steps; DD, DH, DW:
// distances of taps, positive. With UNROLLED all taps of a plane are in registers; else those of one row are. With
// STAGED the block copies its weights to shared memory, since those of neighbouring channels are no neighbours. A
// multiprocessor holds BLOCKS blocks at least.
//
// SOURCE_W, RESULT_W: elements from one column to the next, as constants, so that loads need no addresses of their own.
//
// With GRADIENT `c` has the array of outputs as its source: element i is reached by the taps t with i + P = o * S +
// t * D; S divides ROWS and COLUMNS, so that the compiler knows which. EXACT: weights that are not finite meet no
// padding.

// Numbers of column blocks, bands and result depths.
struct fc_units {
    fc_divider columns, bands, depths;
    fc_u32 count, per_split; // units; of a split of a weight gradient
    int results;             // channels of the result
};

// Where a unit lies.
struct fc_unit {
    int n, depth, top, column;
    __device__ __forceinline__ fc_unit(fc_u32 index, const fc_units &u) {
        const fc_u32 stack = index / STRIPS; // division by a constant
        const fc_u32 band = fc_quotient(stack, u.columns), slab = fc_quotient(band, u.bands);
        column = (stack - band * u.columns.d) * COLUMNS;
        top = ((band - slab * u.bands.d) * STRIPS + index - stack * STRIPS) * ROWS;
        n = fc_quotient(slab, u.depths);
        depth = slab - n * u.depths.d;
    }
};

// A thread's vector of channels and its place in the block.
struct fc_thread {
    int lane, place, channel;
    __device__ __forceinline__ fc_thread() {
        place = threadIdx.x / LANES, lane = threadIdx.x - place * LANES; // division by a constant
        channel = (blockIdx.y * LANES + lane) * VECTOR;
    }
};

// The elements of the source that results a of an axis read, from the unit's first one: first <= b <= last, and the tap
// that they are read through, -1 for none.
template <int UNITS, int TAPS, int STEP, int DISTANCE, int BEFORE> struct fc_axis {
#if GRADIENT
    static constexpr int reach = BEFORE - (TAPS - 1) * DISTANCE;
    static constexpr int first = reach > 0 ? (reach - 1) / STEP + 1 : reach / STEP, last = (UNITS - 1 + BEFORE) / STEP;
    static constexpr int start = UNITS / STEP;
#else
    static constexpr int first = 0, last = (UNITS - 1) * STEP + (TAPS - 1) * DISTANCE, start = STEP;
#endif
    static __device__ __forceinline__ constexpr int tap(int a, int b) {
        const int distance = GRADIENT ? BEFORE + a - b * STEP : b - a * STEP;
        return distance >= 0 && distance % DISTANCE == 0 && distance / DISTANCE < TAPS ? distance / DISTANCE : -1;
    }
    static __device__ __forceinline__ constexpr bool is_read(int b) {
        for (int a = 0; a < UNITS; a++)
            if (tap(a, b) >= 0) return true;
        return false;
    }
};
typedef fc_axis<ROWS, KH, SH, DH, PH> fc_high;
typedef fc_axis<COLUMNS, KW, SW, DW, PW> fc_wide;

// Calls fold(element, column of results, tap) for a row of the source; column `left` lies at `line`.
template <typename Fold>
static __device__ __forceinline__ void fc_each(const fc_element *line, bool inside, int left, const fc_correlation &c,
                                               Fold fold) {
#pragma unroll
    for (int b = fc_wide::first; b <= fc_wide::last; b++) {
        if (!fc_wide::is_read(b)) continue;
        fc_sum x[VECTOR];
        fc_load_if<VECTOR>(inside && (fc_u32)(left + b) < (fc_u32)c.source_size[2], line + b * (long long)SOURCE_W, x);
#pragma unroll
        for (int a = 0; a < COLUMNS; a++)
            if (fc_wide::tap(a, b) >= 0) fold(x, a, fc_wide::tap(a, b));
    }
}

#if FORWARD
// The place of a channel's taps.
static __device__ __forceinline__ long long fc_weight_at(const fc_correlation &c, int channel) {
    const int group = channel / FILTERS; // division by a constant
    return c.weight_at + group * c.weight_group_stride + (channel - group * FILTERS) * c.weight_stride[0];
}

#define TAPS (CHANNELS * KD * KH * KW)
#if STAGED
// Whole vectors: the compiler reads several elements at once, the last ones too.
__shared__ __align__(16) fc_element fc_staged[(TAPS * LANES * VECTOR + 7) / 8 * 8];

static __device__ __forceinline__ void fc_stage(const fc_element *__restrict__ weight, const fc_correlation &c,
                                                const fc_units &u) {
    const int first = blockIdx.y * (LANES * VECTOR), count = min(LANES * VECTOR, u.results - first) * TAPS;
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const int channel = i / TAPS, tap = i - channel * TAPS, kw = tap % KW, kh = tap / KW % KH;
        const int kd = tap / (KW * KH) % KD, from = tap / (KW * KH * KD);
        fc_staged[tap * (LANES * VECTOR) + channel] =
            weight[fc_weight_at(c, first + channel) + from * c.weight_stride[1] + kd * c.weight_stride[2] +
                   kh * c.weight_stride[3] + kw * c.weight_stride[4]];
    }
    __syncthreads();
}
#endif

// The weights of a thread's channels.
struct fc_weights {
    const fc_element *from;
    const fc_correlation &c;
    __device__ __forceinline__ void load(int channel, int kd, int kh, int kw, fc_sum (&to)[VECTOR]) const {
#if STAGED
        fc_load<VECTOR>(from + (((channel * KD + kd) * KH + kh) * KW + kw) * (LANES * VECTOR), to);
#else
        fc_load<VECTOR>(from + (channel * c.weight_stride[1] + kd * c.weight_stride[2] + kh * c.weight_stride[3] +
                                kw * c.weight_stride[4]), to);
#endif
    }
};

// Where a unit's results go, and what is added to them.
struct fc_target {
    fc_element *result;
    const fc_element *bias, *add;
    __device__ __forceinline__ fc_target(fc_element *results, const fc_element *biases, const fc_element *adds,
                                         const fc_correlation &c, const fc_unit &u, int channel) {
        result = results + fc_place(c.result_at, c.result_stride, u.n, channel, u.depth, u.top, u.column);
        bias = biases + channel;
        add = ADD ? adds + fc_place(c.add_at, c.add_stride, u.n, channel, u.depth, u.top, u.column) : 0;
    }
    // V channels of row `i`, column `j` of the unit, from its channel `at` on.
    template <int V>
    __device__ __forceinline__ void store(const fc_correlation &c, int i, int j, int at, fc_sum (&sum)[V]) const {
        fc_sum more[V] = {};
        if (ADD)
            fc_load<V>(add + ((fc_index)i * (fc_index)c.add_stride[3] + (fc_index)j * (fc_index)c.add_stride[4] + at),
                       more);
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (BIAS) sum[v] = fc_plus(sum[v], fc_widen(bias[at + v]));
            if (ADD) sum[v] = fc_plus(sum[v], more[v]);
            sum[v] = fc_activate(sum[v], (fc_sum)c.slope);
        }
        fc_store<V>(fc_step(result, (fc_index)c.result_stride[3] * SIZE, i) + j * (long long)RESULT_W + at, sum);
    }
};

#if EXACT
// Weights that are not finite may meet no padding, in input gradients. Such a weight makes a sum of all taps infinite or
// NaN, whatever it is multiplied by; so where a unit's first sums are finite all is well. Else its results are computed
// once more, of products that exist, and stored again: from the indices on, so that this keeps no registers till then.
static __device__ __forceinline__ void fc_store_exact(const fc_element *source, const fc_element *weight,
                                                      fc_element *result, const fc_element *bias, const fc_element *add,
                                                      const fc_correlation &c, const fc_units &units) {
    const int thread = fc_thread_index(), place = thread / LANES;
    const int first = (fc_block_index(1) * LANES + thread - place * LANES) * VECTOR;
    const fc_unit u(fc_block_index(0) * PLACES + place, units);
    const fc_target target(result, bias, add, c, u, first);
#pragma unroll 1
    for (int i = 0; i < ROWS * COLUMNS * VECTOR; i++) {
        const int v = i % VECTOR, row = u.top + i / VECTOR / COLUMNS, column = u.column + i / VECTOR % COLUMNS;
        if (row >= c.pixels[1] || column >= c.pixels[2]) continue;
#if GRADIENT
        const int z = u.depth + c.first[0], y = row + PH, x = column + PW;
        const fc_taps d = {SD > 1 ? z / SD : z, SD > 1 ? -1 : -DD, c.source_size[0], z % SD, SD, KD};
        const fc_taps h = {SH > 1 ? y / SH : y, SH > 1 ? -1 : -DH, c.source_size[1], y % SH, SH, KH};
        const fc_taps w = {SW > 1 ? x / SW : x, SW > 1 ? -1 : -DW, c.source_size[2], x % SW, SW, KW};
#else
        const fc_taps d = {u.depth * SD + c.first[0], DD, c.source_size[0], 0, 1, KD};
        const fc_taps h = {row * SH + c.first[1], DH, c.source_size[1], 0, 1, KH};
        const fc_taps w = {column * SW + c.first[2], DW, c.source_size[2], 0, 1, KW};
#endif
        const int channel = first / FILTERS * CHANNELS + v;
        fc_sum exact[1] = {0};
        for (int m = 0; m < CHANNELS; m++)
            exact[0] = fc_plus(exact[0], fc_exact(fc_source(source, c, u.n, channel + m, 0, 0, 0),
                                                  weight + fc_weight_at(c, first + v) + m * c.weight_stride[1], c, d, h,
                                                  w));
        target.store<1>(c, i / VECTOR / COLUMNS, i / VECTOR % COLUMNS, v, exact);
    }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    depthwise_nhwc(const fc_element *__restrict__ source, const fc_element *__restrict__ weight,
                   fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                   const fc_element *__restrict__ add, const __grid_constant__ fc_correlation c,
                   const __grid_constant__ fc_units units) {
    const fc_thread t;
    const fc_u32 index = blockIdx.x * PLACES + t.place;
#if STAGED
    fc_stage(weight, c, units);
#endif
    if (t.place >= PLACES || index >= units.count || t.channel >= units.results) return;
    const fc_unit u(index, units);
    if (STRIPS > 1 && u.top >= c.pixels[1]) return;
#if STAGED
    const fc_weights weights = {fc_staged + t.lane * VECTOR, c};
#else
    const fc_weights weights = {weight + fc_weight_at(c, t.channel), c};
#endif
    const int channel = t.channel / FILTERS * CHANNELS; // of the source
    const int first_row = GRADIENT ? u.top / SH : u.top * SH + c.first[1];
    const int left = GRADIENT ? u.column / SW : u.column * SW + c.first[2];
    const fc_index pitch = (fc_index)c.source_stride[3] * SIZE;
    fc_sum sum[ROWS][COLUMNS][VECTOR] = {};
#if EXACT
    fc_sum total = 0; // of sums that have all taps among them
#endif
    for (int m = 0; m < CHANNELS; m++)
        for (int kd = 0; kd < KD; kd++) {
            const int there = u.depth + c.first[0] - kd * DD;
            const int depth = GRADIENT ? there / SD : u.depth * SD + c.first[0] + kd * DD;
            const bool inside =
                (fc_u32)depth < (fc_u32)c.source_size[0] && !(GRADIENT && (there < 0 || there % SD != 0));
            const fc_element *from = fc_source(source, c, u.n, channel + m, depth, first_row, left);
#if UNROLLED
            fc_sum w[KH][KW][VECTOR];
#pragma unroll
            for (int kh = 0; kh < KH; kh++)
#pragma unroll
                for (int kw = 0; kw < KW; kw++) weights.load(m, kd, kh, kw, w[kh][kw]);
#pragma unroll
            for (int b = fc_high::first; b <= fc_high::last; b++) {
                if (!fc_high::is_read(b)) continue;
                const bool is_row = inside && (fc_u32)(first_row + b) < (fc_u32)c.source_size[1];
                fc_each(fc_step(from, pitch, b), is_row, left, c, [&](const fc_sum(&x)[VECTOR], int a, int kw) {
#pragma unroll
                    for (int i = 0; i < ROWS; i++) {
                        if (fc_high::tap(i, b) < 0) continue;
#pragma unroll
                        for (int v = 0; v < VECTOR; v++)
                            sum[i][a][v] = fc_fma(x[v], w[fc_high::tap(i, b)][kw][v], sum[i][a][v]);
                    }
                });
            }
#else
#pragma unroll 1
            for (int kh = 0; kh < KH; kh++) {
                fc_sum w[KW][VECTOR];
#pragma unroll
                for (int kw = 0; kw < KW; kw++) weights.load(m, kd, kh, kw, w[kw]);
#pragma unroll
                for (int i = 0; i < ROWS; i++) {
                    const int distance = GRADIENT ? PH + i - kh * DH : i * SH + kh * DH;
                    if (GRADIENT && distance % SH != 0) continue;
                    const int b = GRADIENT ? distance / SH : distance;
                    const bool is_row = inside && (fc_u32)(first_row + b) < (fc_u32)c.source_size[1];
                    fc_each(fc_step(from, pitch, b), is_row, left, c,
                                  [&](const fc_sum(&x)[VECTOR], int a, int kw) {
#pragma unroll
                                      for (int v = 0; v < VECTOR; v++)
                                          sum[i][a][v] = fc_fma(x[v], w[kw][v], sum[i][a][v]);
                                  });
                }
            }
#endif
        }
#if EXACT
#pragma unroll
    for (int i = 0; i < (GRADIENT ? SH * SW : 1) * VECTOR; i++)
        total = fc_plus(total, sum[i / VECTOR / (GRADIENT ? SW : 1)][i / VECTOR % (GRADIENT ? SW : 1)][i % VECTOR]);
#endif
    const fc_target target(result, bias, add, c, u, t.channel);
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        if (!WHOLE_ROWS && u.top + i >= c.pixels[1]) break;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            if (!WHOLE_COLUMNS && u.column + j >= c.pixels[2]) break;
            target.store<VECTOR>(c, i, j, 0, sum[i][j]);
        }
    }
#if EXACT
    if (!fc_is_finite(total)) fc_store_exact(source, weight, result, bias, add, c, units);
#endif
}
#endif

#if WEIGHT
// The gradient of TAP_ROWS rows of taps (blockIdx.x: split, y: vectors of channels, z: depth and rows of taps). A split
// is a range of units of all images; the block's places take them in turn. Units divide the results, since a zero for a
// result that does not exist would be multiplied by what may not be finite. Partial sums go to `partial` [split][tap]
// [filter], to be added in order.
typedef fc_axis<ROWS, TAP_ROWS, SH, DH, 0> fc_tap_rows;
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    depthwise_nhwc_weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ gradient,
                                   fc_sum *__restrict__ partial, const __grid_constant__ fc_correlation c,
                                   const __grid_constant__ fc_units units) {
    __shared__ fc_sum shared[KW * PLACES * LANES * VECTOR];
    const fc_thread t;
    const int kd = blockIdx.z / (KH / TAP_ROWS), first_kh = blockIdx.z % (KH / TAP_ROWS) * TAP_ROWS;
    const fc_u32 begin = blockIdx.x * units.per_split, end = min(begin + units.per_split, units.count);
    const bool takes_part = t.place < PLACES && t.channel < units.results;
    fc_sum sum[TAP_ROWS][KW][VECTOR] = {};
#pragma unroll 1
    for (fc_u32 index = takes_part ? begin + t.place : end; index < end; index += PLACES) {
        const fc_unit u(index, units);
        const int depth = u.depth * SD + c.first[0] + kd * DD, row = u.top * SH + c.first[1] + first_kh * DH;
        const int left = u.column * SW + c.first[2];
        const bool inside = (fc_u32)depth < (fc_u32)c.source_size[0];
        const fc_element *from = gradient + fc_place(c.result_at, c.result_stride, u.n, t.channel, u.depth, u.top, u.column);
        const fc_element *line = fc_source(source, c, u.n, t.channel / FILTERS, depth, row, left);
        fc_sum dy[ROWS][COLUMNS][VECTOR];
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int a = 0; a < COLUMNS; a++)
                fc_load<VECTOR>(fc_step(from, (fc_index)c.result_stride[3] * SIZE, i) + a * (long long)RESULT_W,
                                dy[i][a]);
#pragma unroll
        for (int b = fc_tap_rows::first; b <= fc_tap_rows::last; b++) {
            if (!fc_tap_rows::is_read(b)) continue;
            fc_each(fc_step(line, (fc_index)c.source_stride[3] * SIZE, b),
                    inside && (fc_u32)(row + b) < (fc_u32)c.source_size[1], left, c,
                    [&](const fc_sum(&x)[VECTOR], int a, int kw) {
#pragma unroll
                        for (int i = 0; i < ROWS; i++) {
                            if (fc_tap_rows::tap(i, b) < 0) continue;
#pragma unroll
                            for (int v = 0; v < VECTOR; v++)
                                sum[fc_tap_rows::tap(i, b)][kw][v] =
                                    fc_fma(x[v], dy[i][a][v], sum[fc_tap_rows::tap(i, b)][kw][v]);
                        }
                    });
        }
    }
    for (int i = 0; i < TAP_ROWS; i++) {
        if (t.place < PLACES)
#pragma unroll
            for (int kw = 0; kw < KW; kw++)
#pragma unroll
                for (int k = 0; k < TAP_ROWS; k++) // no computed index: sums stay in registers
                    if (k == i)
#pragma unroll
                        for (int v = 0; v < VECTOR; v++)
                            shared[((kw * PLACES + t.place) * LANES + t.lane) * VECTOR + v] = sum[k][kw][v];
        __syncthreads(); // of all places
        for (int item = threadIdx.x; item < KW * LANES * VECTOR; item += THREADS) {
            const int kw = item / (LANES * VECTOR), own = item % (LANES * VECTOR), filter = blockIdx.y * (LANES * VECTOR) + own;
            fc_sum total = 0;
#pragma unroll
            for (int place = 0; place < PLACES; place++)
                total = fc_plus(total, shared[(kw * PLACES + place) * (LANES * VECTOR) + own]);
            const int tap = (kd * KH + first_kh + i) * KW + kw;
            if (filter < units.results)
                partial[((long long)blockIdx.x * (KD * KH * KW) + tap) * units.results + filter] = total;
        }
        __syncthreads(); // before the next row is written
    }
}
#endif

#if PACKING
// Weights as [source channel of a group][tap][result], where they are too many for shared memory.
extern "C" __global__ void __launch_bounds__(THREADS)
    depthwise_nhwc_pack(const fc_element *__restrict__ weight, fc_element *__restrict__ packed,
                        const __grid_constant__ fc_correlation c, const __grid_constant__ fc_divider results,
                        fc_u32 count) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= count) return;
    const int tap = fc_quotient(index, results), channel = index - tap * results.d;
    packed[index] = weight[fc_weight_at(c, channel) + tap / (KW * KH * KD) * c.weight_stride[1] +
                           tap / (KW * KH) % KD * c.weight_stride[2] + tap / KW % KH * c.weight_stride[3] +
                           tap % KW * c.weight_stride[4]];
}
#endif
