// Depthwise correlations whose rows are neighbours in memory (NCHW), in the three directions. See correlation.cuh.
//
// A unit is ROWS results under each other in COLUMNS neighbouring columns of one plane, computed by one thread. Threads
// are numbered along (image, channel, plane, strip, column), so that no lane idles for odd widths. A source row is
// loaded once into registers and multiplied into every row of results that it reaches; neighbouring lanes read the
// same lines, which the first-level cache holds, so that memory is read once.
//
// KD: planes of taps; KH, KW: taps of a plane, WEIGHT_H and WEIGHT_W elements apart; CHANNELS: source channels of a
// group, 0: c.channels; SH, SW: steps; DH, DW: distances of taps, positive. With UNROLLED all taps of a plane are in
// registers; else those of one row are, and the source rows are loaded anew for each. COLUMNS > 1 asks for rows of
// multiples of COLUMNS elements, aligned to vectors; LEAD is how far the first element that a unit reads lies behind
// a vector's start. UNIT: neighbours of a source row are neighbours in memory. WHOLE: ROWS divides the results' rows.
//
// A block of THREADS threads has UNITS units; a multiprocessor holds BLOCKS of them at least. With SLABS, not 0, they
// are those of so many whole slabs (all rows of a depth), whose results lie without gaps: these are put together in
// shared memory and stored in one piece, where rows alone would leave sectors in parts.

// Numbers of columns, strips, result depths, result channels and result channels in a group.
struct fc_units {
    fc_divider columns, strips, depths, filters, per_group;
    fc_u32 count, per_split; // units; of a split of a weight gradient: those that one block visits
};

// A row of the source in registers: VECTORS of EACH elements, APART from each other. Column j of the results reads, if
// MEETS, element AT through tap kw.
#if GRADIENT && COLUMNS > 1
#define EACH (COLUMNS / SW)
#define VECTORS ((LEAD + (COLUMNS - 1 + PW) / SW - FIRST) / EACH + 1)
#define APART EACH
#define MEETS(j, kw) ((PW + (j) - (kw)) % SW == 0)
#define AT(j, kw) (LEAD + (PW + (j) - (kw)) / SW - FIRST)
#elif COLUMNS == 1
#define EACH 1
#define VECTORS KW
#define APART DW
#define MEETS(j, kw) true
#define AT(j, kw) (kw)
#else
#define EACH COLUMNS
#define VECTORS ((LEAD + (COLUMNS - 1) * SW + (KW - 1) * DW) / COLUMNS + 1)
#define APART COLUMNS
#define MEETS(j, kw) true
#define AT(j, kw) (LEAD + (j) * SW + (kw) * DW)
#endif

#if CHANNELS
#define SOURCE_CHANNELS CHANNELS
#else
#define SOURCE_CHANNELS c.channels
#endif

// Where a unit lies.
struct fc_unit {
    int n, filter, group, depth, top, column;
    fc_u32 slab;
    __device__ __forceinline__ fc_unit(fc_u32 index, const fc_units &u) {
        const fc_u32 line = fc_quotient(index, u.columns);
        slab = fc_quotient(line, u.strips);
        const fc_u32 plane = fc_quotient(slab, u.depths);
        column = (index - line * u.columns.d) * COLUMNS;
        top = (line - slab * u.strips.d) * ROWS;
        depth = slab - plane * u.depths.d;
        n = fc_quotient(plane, u.filters);
        filter = plane - n * u.filters.d;
        group = fc_quotient(filter, u.per_group);
    }
};

// Whether a vector has an element that is read.
static __device__ constexpr bool fc_is_read(int vector) {
    for (int j = 0; j < COLUMNS; j++)
        for (int kw = 0; kw < KW; kw++)
            if (MEETS(j, kw) && AT(j, kw) / EACH == vector) return true;
    return false;
}

// The elements of a source row that a unit reads, zeros outside of it; `from` is the place of column `left`.
struct fc_row {
    fc_sum v[VECTORS * EACH];
    __device__ __forceinline__ void load(const fc_element *from, bool inside, int left, const fc_correlation &c) {
#pragma unroll
        for (int i = 0; i < VECTORS; i++) {
            if (!fc_is_read(i)) continue;
            fc_sum part[EACH];
            const fc_element *at =
                UNIT ? from + i * APART : fc_step(from, (fc_index)c.source_stride[4] * SIZE, i * APART);
            fc_load_if<EACH>(inside && (fc_u32)(left + i * APART) < (fc_u32)c.source_size[2], at, part);
#pragma unroll
            for (int j = 0; j < EACH; j++) v[i * EACH + j] = part[j];
        }
    }
};

// Calls fold(row, i, kh) for every source row and every pair of a row of results and a row of taps that reads it;
// `from` is the place of row `top` and column `left`.
template <int TAPS, typename Fold>
static __device__ __forceinline__ void fc_each_row(const fc_element *from, bool inside, int top, int left,
                                                   const fc_correlation &c, Fold fold) {
    const fc_index pitch = (fc_index)c.source_stride[3] * SIZE;
#pragma unroll
    for (int r = 0; r <= (ROWS - 1) * SH + (TAPS - 1) * DH; r++) {
        bool is_read = false;
#pragma unroll
        for (int i = 0; i < ROWS; i++) is_read |= r >= i * SH && (r - i * SH) % DH == 0 && (r - i * SH) / DH < TAPS;
        if (!is_read) continue;
        fc_row row;
        row.load(fc_step(from, pitch, r), inside && (fc_u32)(top + r) < (fc_u32)c.source_size[1], left, c);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
            if (r >= i * SH && (r - i * SH) % DH == 0 && (r - i * SH) / DH < TAPS) fold(row, i, (r - i * SH) / DH);
    }
}

#if SLABS
__shared__ __align__(16) fc_element fc_staged[UNITS * ROWS * COLUMNS];
#endif

// Where a unit's results go, and what is added to them: from the row `top` on, which may lie before the first one.
struct fc_target {
    fc_element *result;
    const fc_element *add;
    fc_sum bias;
    __device__ __forceinline__ fc_target(fc_element *results, const fc_element *biases, const fc_element *adds,
                                         const fc_correlation &c, const fc_unit &u, int top) {
#if SLABS
        result = fc_staged + (((int)(u.slab - blockIdx.x * SLABS) * c.pixels[1] + top) * c.pixels[2] + u.column);
#else
        result = results + fc_place(c.result_at, c.result_stride, u.n, u.filter, u.depth, top, u.column);
#endif
        add = ADD ? adds + fc_place(c.add_at, c.add_stride, u.n, u.filter, u.depth, top, u.column) : 0;
        bias = BIAS ? fc_widen(biases[u.filter]) : fc_sum(0);
    }
    // V results of row `i` from the first on, from column `at` of the unit on.
    template <int V> __device__ __forceinline__ void store(const fc_correlation &c, int i, int at, fc_sum (&sum)[V]) const {
        fc_sum more[V] = {};
        if (ADD) fc_load<V>(fc_step(add, (fc_index)c.add_stride[3] * SIZE, i) + at, more);
#pragma unroll
        for (int j = 0; j < V; j++) {
            if (BIAS) sum[j] = fc_plus(sum[j], bias);
            if (ADD) sum[j] = fc_plus(sum[j], more[j]);
            sum[j] = fc_activate(sum[j], (fc_sum)c.slope);
        }
#if SLABS
        fc_store_shared<V>(result + i * c.pixels[2] + at, sum);
#else
        fc_store<V>(fc_step(result, (fc_index)c.result_stride[3] * SIZE, i) + at, sum);
#endif
    }
};

// The place of a unit's taps.
static __device__ __forceinline__ const fc_element *fc_taps_of(const fc_element *weight, const fc_correlation &c,
                                                               const fc_units &units, const fc_unit &u) {
    return weight + (c.weight_at + u.group * c.weight_group_stride +
                     (u.filter - u.group * (int)units.per_group.d) * c.weight_stride[0]);
}

// Weights that are not finite may meet no padding, in input gradients. Such a weight makes a sum of all taps infinite or
// NaN, whatever it is multiplied by; so where a unit's first sum is finite all is well. Else its results are computed
// once more, of products that exist, and stored again: from the indices on, so that this keeps no registers till then.
static __device__ __forceinline__ fc_u32 fc_index_anew() { return fc_block_index(0) * UNITS + fc_thread_index(); }
static __device__ __forceinline__ fc_sum fc_exact_sum(const fc_element *source, const fc_element *weight,
                                                      const fc_correlation &c, const fc_units &units, const fc_unit &u,
                                                      const fc_taps &d, const fc_taps &h, const fc_taps &w) {
    const fc_element *taps = fc_taps_of(weight, c, units, u);
    fc_sum sum = 0;
    for (int channel = 0; channel < SOURCE_CHANNELS; channel++)
        sum += fc_exact(fc_source(source, c, u.n, u.group * SOURCE_CHANNELS + channel, 0, 0, 0),
                        taps + channel * c.weight_stride[1], c, d, h, w);
    return sum;
}

// Stores what the block has put together; all its threads take part.
static __device__ __forceinline__ void fc_store_slabs(fc_element *result, const fc_correlation &c,
                                                      const fc_units &units) {
#if SLABS
    __syncthreads();
    const int size = c.pixels[1] * c.pixels[2] / COLUMNS; // vectors of a slab
    const int here = min((int)(units.count - blockIdx.x * UNITS), UNITS) / (UNITS / SLABS) * size;
    const long long first = c.result_at / COLUMNS + (long long)(blockIdx.x * SLABS) * size;
    int i = (int)threadIdx.x - (int)(first & 31); // warps begin where sectors do
    if (i < 0) i += THREADS;
    for (; i < here; i += THREADS) fc_copy_out<COLUMNS>(result + (first + i) * COLUMNS, fc_staged + i * COLUMNS);
#endif
}

#if FORWARD
static __device__ __forceinline__ void fc_forward(const fc_element *__restrict__ source,
                                                  const fc_element *__restrict__ weight,
                                                  fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                                                  const fc_element *__restrict__ add, const fc_correlation &c,
                                                  const fc_units &units, fc_u32 index) {
    const fc_unit u(index, units);
    const fc_element *taps = fc_taps_of(weight, c, units, u);
    const int top = u.top * SH + c.first[1], left = u.column * SW + c.first[2] - LEAD;
    const int front = u.depth * c.step[0] + c.first[0];
    fc_sum sum[ROWS][COLUMNS] = {};
    for (int channel = 0; channel < SOURCE_CHANNELS; channel++)
        for (int kd = 0; kd < KD; kd++) {
            const int depth = front + kd * c.delta[0];
            const bool inside = (fc_u32)depth < (fc_u32)c.source_size[0];
            const fc_element *from = fc_source(source, c, u.n, u.group * SOURCE_CHANNELS + channel, depth, top, left);
            const fc_element *in_depth = taps + (channel * c.weight_stride[1] + kd * c.weight_stride[2]);
#if UNROLLED
#define TAP_ROWS KH
            {
                const int kh = 0;
#else
#define TAP_ROWS 1
            for (int kh = 0; kh < KH; kh++) {
#endif
                fc_sum w[TAP_ROWS][KW];
#pragma unroll
                for (int i = 0; i < TAP_ROWS; i++)
#pragma unroll
                    for (int kw = 0; kw < KW; kw++)
                        w[i][kw] = fc_widen(in_depth[(kh + i) * WEIGHT_H + kw * WEIGHT_W]);
                const fc_element *rows = fc_step(from, (fc_index)c.source_stride[3] * SIZE, kh * DH);
                fc_each_row<TAP_ROWS>(rows, inside, top + kh * DH, left, c, [&](const fc_row &row, int i, int k) {
#pragma unroll
                    for (int kw = 0; kw < KW; kw++)
#pragma unroll
                        for (int j = 0; j < COLUMNS; j++) sum[i][j] = fc_fma(row.v[AT(j, kw)], w[k][kw], sum[i][j]);
                });
            }
        }
    const fc_target target(result, bias, add, c, u, u.top);
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        if (WHOLE || u.top + i < c.pixels[1]) target.store<COLUMNS>(c, i, 0, sum[i]);
#if EXACT
    if (fc_is_finite(sum[0][0])) return;
    const fc_unit again(fc_index_anew(), units);
    const fc_target place(result, bias, add, c, again, again.top);
#pragma unroll 1
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const int row = again.top + i / COLUMNS, column = again.column + i % COLUMNS;
        const fc_taps d = {again.depth * c.step[0] + c.first[0], c.delta[0], c.source_size[0], 0, 1, KD};
        const fc_taps h = {row * SH + c.first[1], DH, c.source_size[1], 0, 1, KH};
        const fc_taps w = {column * SW + c.first[2], DW, c.source_size[2], 0, 1, KW};
        fc_sum exact[1] = {fc_exact_sum(source, weight, c, units, again, d, h, w)};
        if (row < c.pixels[1]) place.store<1>(c, i / COLUMNS, i % COLUMNS, exact);
    }
#endif
}

// Forward, and one stride phase of an input gradient (EXACT: weights that are not finite meet no padding).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    depthwise_forward(const fc_element *__restrict__ source, const fc_element *__restrict__ weight,
                      fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                      const fc_element *__restrict__ add, const __grid_constant__ fc_correlation c,
                      const __grid_constant__ fc_units units) {
    const fc_u32 index = blockIdx.x * UNITS + threadIdx.x;
    if (threadIdx.x < UNITS && index < units.count) fc_forward(source, weight, result, bias, add, c, units, index);
    fc_store_slabs(result, c, units);
}
#endif

#if GRADIENT
// A unit of all stride phases of an input gradient at once, of taps that are neighbours. Element i is reached by the
// taps t = u % S, u % S + S, ... with u = i + before, from output u / S - j through tap u % S + S j. Lanes of different
// phases take different weights and the same way; a strip begins with an element of phase 0, which may lie before the
// first one. Here `c` has the array of outputs as its source, `first` is `before`, ROWS is a multiple of SH. Of COLUMNS > 1,
// a multiple of SW, the compiler knows the phases: PW is `before`, FIRST the first output that a unit reads, by that of
// its first column.
#define TAPS_H ((KH + SH - 1) / SH)
#define TAPS_W ((KW + SW - 1) / SW)
static __device__ __forceinline__ void fc_gradient(const fc_element *__restrict__ source,
                                                   const fc_element *__restrict__ weight,
                                                   fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                                                   const fc_element *__restrict__ add, const fc_correlation &c,
                                                   const fc_units &units, fc_u32 index) {
    const fc_unit u(index, units);
    const fc_element *taps = fc_taps_of(weight, c, units, u);
    const int start = u.top + c.first[1] / SH * SH, bottom = start / SH, before = c.first[1];
    fc_sum sum[ROWS][COLUMNS] = {};
    for (int channel = 0; channel < SOURCE_CHANNELS; channel++) {
        const fc_element *in_channel = taps + channel * c.weight_stride[1];
#if COLUMNS > 1
        const int left = u.column / SW + FIRST - LEAD; // division by a constant
        fc_sum w[KH][KW];
#pragma unroll
        for (int i = 0; i < KH * KW; i++)
            w[i / KW][i % KW] = fc_widen(in_channel[i / KW * WEIGHT_H + i % KW * WEIGHT_W]);
#else
        const fc_u32 place = u.column + c.first[2], phase = place % SW; // division by a constant
        const int left = place / SW;
        fc_sum w[KH][TAPS_W];
        bool is_read[TAPS_W];
#pragma unroll
        for (int j = 0; j < TAPS_W; j++) {
            is_read[j] = phase + j * SW < KW && (fc_u32)(left - j) < (fc_u32)c.source_size[2];
#pragma unroll
            for (int kh = 0; kh < KH; kh++) {
                fc_sum tap[1];
                fc_load_if<1>(phase + j * SW < KW, in_channel + (kh * WEIGHT_H + (int)(phase + j * SW) * WEIGHT_W), tap);
                w[kh][j] = tap[0];
            }
        }
#endif
        const fc_element *from = fc_source(source, c, u.n, u.group * SOURCE_CHANNELS + channel, u.depth, bottom, left);
#pragma unroll
        for (int r = 1 - TAPS_H; r < ROWS / SH; r++) {
            const bool inside = (fc_u32)(bottom + r) < (fc_u32)c.source_size[1];
            const fc_element *line = fc_step(from, (fc_index)c.source_stride[3] * SIZE, r);
#if COLUMNS > 1
            fc_row row;
            row.load(line, inside, left, c);
#else
            fc_sum row[TAPS_W];
#pragma unroll
            for (int j = 0; j < TAPS_W; j++) {
                fc_sum read[1];
                fc_load_if<1>(inside && is_read[j], UNIT ? line - j : fc_step(line, (fc_index)c.source_stride[4] * SIZE, -j),
                              read);
                row[j] = read[0];
            }
#endif
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                const int j = i / SH - r, kh = i % SH + j * SH;
                if (j < 0 || kh >= KH) continue;
#if COLUMNS > 1
#pragma unroll
                for (int kw = 0; kw < KW; kw++)
#pragma unroll
                    for (int x = 0; x < COLUMNS; x++)
                        if (MEETS(x, kw)) sum[i][x] = fc_fma(row.v[AT(x, kw)], w[kh][kw], sum[i][x]);
#else
#pragma unroll
                for (int k = 0; k < TAPS_W; k++) sum[i][0] = fc_fma(row[k], w[kh][k], sum[i][0]);
#endif
            }
        }
    }
    const fc_target target(result, bias, add, c, u, start - before);
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        if (WHOLE || (fc_u32)(start - before + i) < (fc_u32)c.pixels[1]) target.store<COLUMNS>(c, i, 0, sum[i]);
    fc_sum total = 0; // of all taps, or of all of this column
#pragma unroll
    for (int i = 0; i < SH; i++)
#pragma unroll
        for (int x = 0; x < SW && x < COLUMNS; x++) total = fc_plus(total, sum[i][x]);
    if (fc_is_finite(total)) return;
    const fc_unit again(fc_index_anew(), units);
    const int first = again.top + c.first[1] / SH * SH;
    const fc_target to(result, bias, add, c, again, first - c.first[1]);
#pragma unroll 1
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const int y = i / COLUMNS, x = again.column + i % COLUMNS + c.first[2];
        const fc_taps d = {again.depth, 0, c.source_size[0], 0, 1, 1};
        const fc_taps h = {first / SH + y / SH, -1, c.source_size[1], y % SH, SH, KH};
        const fc_taps w = {x / SW, -1, c.source_size[2], x % SW, SW, KW};
        fc_sum exact[1] = {fc_exact_sum(source, weight, c, units, again, d, h, w)};
        if ((fc_u32)(first - c.first[1] + y) < (fc_u32)c.pixels[1]) to.store<1>(c, y, i % COLUMNS, exact);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    depthwise_strided_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ weight,
                               fc_element *__restrict__ result, const fc_element *__restrict__ bias,
                               const fc_element *__restrict__ add, const __grid_constant__ fc_correlation c,
                               const __grid_constant__ fc_units units) {
    const fc_u32 index = blockIdx.x * UNITS + threadIdx.x;
    if (threadIdx.x < UNITS && index < units.count) fc_gradient(source, weight, result, bias, add, c, units, index);
    fc_store_slabs(result, c, units);
}
#endif

#if WEIGHT
// The gradient of TAP_ROWS rows of taps of one filter (blockIdx.x: filter, y: split, z: depth and rows of taps). A
// split is a range of units of all images; threads take every THREADS-th of it. Partial sums go to `partial`
// [split][filter][tap], to be added in order; those of an only split are stored at once.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    depthwise_weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ gradient,
                              fc_element *__restrict__ result, fc_sum *__restrict__ partial,
                              const __grid_constant__ fc_correlation c, const __grid_constant__ fc_units units,
                              const __grid_constant__ fc_divider slices) {
    __shared__ fc_sum shared[THREADS / 32][TAP_ROWS * KW];
    const int filter = blockIdx.x, group = fc_quotient(filter, units.per_group);
    const int kd = fc_quotient(blockIdx.z, slices), kh = (blockIdx.z - kd * slices.d) * TAP_ROWS;
    fc_sum sum[TAP_ROWS][KW] = {};
    const fc_u32 begin = blockIdx.y * units.per_split, end = min(begin + units.per_split, units.count);
#pragma unroll 1
    for (fc_u32 index = begin + threadIdx.x; index < end; index += THREADS) {
        const fc_unit u(index, units); // one "channel": units.filters is 1
        const int depth = u.depth * c.step[0] + c.first[0] + kd * c.delta[0];
        const bool inside = (fc_u32)depth < (fc_u32)c.source_size[0];
        const fc_element *from =
            gradient + fc_place(c.result_at, c.result_stride, u.n, filter, u.depth, u.top, u.column);
        fc_sum dy[ROWS][COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; i++)
            fc_load_if<COLUMNS>(WHOLE || u.top + i < c.pixels[1], fc_step(from, (fc_index)c.result_stride[3] * SIZE, i),
                                dy[i]);
        const int top = u.top * SH + c.first[1] + kh * DH, left = u.column * SW + c.first[2] - LEAD;
        fc_each_row<TAP_ROWS>(fc_source(source, c, u.n, group, depth, top, left), inside, top, left, c,
                              [&](const fc_row &row, int i, int k) {
                                  if (!WHOLE && u.top + i >= c.pixels[1]) return; // no product with what is no pixel
#pragma unroll
                                  for (int kw = 0; kw < KW; kw++)
#pragma unroll
                                      for (int j = 0; j < COLUMNS; j++) sum[k][kw] = fc_fma(row.v[AT(j, kw)], dy[i][j], sum[k][kw]);
                              });
    }
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < TAP_ROWS * KW; i++) {
        const fc_sum total = fc_warp_sum(sum[i / KW][i % KW]);
        if (lane == 0) shared[warp][i] = total;
    }
    __syncthreads(); // of all warps
    for (int i = threadIdx.x; i < TAP_ROWS * KW; i += THREADS) {
        fc_sum total = 0;
#pragma unroll
        for (int w = 0; w < THREADS / 32; w++) total = fc_plus(total, shared[w][i]);
        const int row = i / KW, kw = i - row * KW; // division by a constant
        if (gridDim.y == 1)
            result[c.weight_at + group * c.weight_group_stride +
                   (filter - group * (int)units.per_group.d) * c.weight_stride[0] + kd * c.weight_stride[2] +
                   (kh + row) * c.weight_stride[3] + kw * c.weight_stride[4]] = fc_narrow(total);
        else
            partial[(((long long)blockIdx.y * gridDim.x + filter) * gridDim.z + blockIdx.z) * (TAP_ROWS * KW) + i] =
                total;
    }
}
#endif
