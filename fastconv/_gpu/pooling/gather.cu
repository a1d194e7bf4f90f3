// Pooling: windows of a source array reduced to one element of a result each, and the gradients. For the formulas and
// what windows are see _cpu/pooling/job.h; here gradients gather, each element of the source from the windows that own
// it, so that nothing is added atomically. An index outside of its own window counts nowhere.
//
// One thread computes one element, or with LANES == 32 a warp does. T0.. S0.. D0..: taps, steps, distances of taps on
// the axes d, h, w; A0.. whether an axis is shared out evenly. With CHANNELS_LAST threads are numbered along channels.
// INTEGER is the C type of arrays of integers, LOWEST its lowest value; other types are those of vectors.cuh.
#define THREADS 128

#ifdef INTEGER
typedef INTEGER value_t, sum_t;
#define WIDEN(x) (x)
#define NARROW(x) ((value_t)(x))
#define IS_NAN(x) false
#else
typedef fc_element value_t;
typedef fc_sum sum_t;
#define WIDEN fc_widen
#define NARROW fc_narrow
#define IS_NAN(x) ((x) != (x))
#define LOWEST (-sum_t(1) / sum_t(0))
#endif

struct fc_pool_axis {
    int size, outputs, before, after;
    fc_divider by_size, by_outputs, by_step, by_dilation;
};
struct fc_pool {
    long long source_stride[5], result_stride[5], index_stride[5];
    long long source_at, result_at, index_at; // elements from the arrays' starts to those of the first image
    long long divisor;                        // 0: the number of elements
    fc_pool_axis axis[3];
    fc_divider sizes[4]; // of what threads are numbered along: the fastest first; the rest is the image
    fc_u32 count;
    int count_padding;
};

// Taps, steps, distances of an axis as constants.
template <int AXIS> struct fc_shape {
    static constexpr int taps = AXIS == 0 ? T0 : AXIS == 1 ? T1 : T2, step = AXIS == 0 ? S0 : AXIS == 1 ? S1 : S2;
    static constexpr int dilation = AXIS == 0 ? D0 : AXIS == 1 ? D1 : D2;
    static constexpr bool adaptive = AXIS == 0 ? A0 : AXIS == 1 ? A1 : A2;
};

// The elements first + t * dilation, t < taps, from 0 to `end`.
template <int AXIS> struct fc_window {
    int first, end;
    __device__ __forceinline__ fc_window(const fc_pool_axis &a, int output) {
        typedef fc_shape<AXIS> shape;
        if (shape::adaptive) {
            first = fc_quotient(output * a.size, a.by_outputs);
            end = fc_quotient((output + 1) * a.size + a.outputs - 1, a.by_outputs);
        } else {
            first = output * shape::step - a.before;
            end = a.size;
        }
    }
    // Elements up to `limit` from `least` on.
    static __device__ __forceinline__ int taps_below(const fc_pool_axis &a, int first, int limit) {
        return limit <= first ? 0 : min((int)fc_quotient(limit - 1 - first, a.by_dilation) + 1, fc_shape<AXIS>::taps);
    }
    // The number of elements that an average divides by.
    __device__ __forceinline__ int counted(const fc_pool_axis &a, bool with_padding) const {
        if (fc_shape<AXIS>::adaptive) return end - first;
        if (with_padding) return taps_below(a, first, a.size + a.after);
        return taps_below(a, first, a.size) - taps_below(a, first, 0);
    }
};

static __device__ __forceinline__ fc_index fc_in_plane(const long long (&stride)[5], int d, int h, int w) {
    return (fc_index)d * (fc_index)stride[2] + (fc_index)h * (fc_index)stride[3] + (fc_index)w * (fc_index)stride[4];
}

// The places of an element: image, channel, d, h, w.
struct fc_element_place {
    int at[5];
    __device__ __forceinline__ fc_element_place(fc_u32 index, const fc_pool &p) {
        fc_u32 part[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const fc_u32 rest = fc_quotient(index, p.sizes[i]);
            part[i] = index - rest * p.sizes[i].d;
            index = rest;
        }
        at[0] = index;
#if CHANNELS_LAST
        at[1] = part[0], at[4] = part[1], at[3] = part[2], at[2] = part[3];
#else
        at[4] = part[0], at[3] = part[1], at[2] = part[2], at[1] = part[3];
#endif
    }
    __device__ __forceinline__ long long offset(const long long (&stride)[5]) const {
        return at[0] * stride[0] + at[1] * stride[1] + fc_in_plane(stride, at[2], at[3], at[4]);
    }
};

static __device__ __forceinline__ long long fc_divisor(const fc_pool &p, const fc_window<0> &d, const fc_window<1> &h,
                                                       const fc_window<2> &w) {
    if (p.divisor) return p.divisor;
    const bool pad = p.count_padding;
    const long long count =
        (long long)d.counted(p.axis[0], pad) * h.counted(p.axis[1], pad) * w.counted(p.axis[2], pad);
    return count ? count : 1;
}

static __device__ __forceinline__ sum_t fc_divided(sum_t sum, long long divisor) { return sum / (sum_t)divisor; }

// Calls visit(offset in the plane, index in the plane) for the elements of a window, in their order; with LANES == 32
// each lane for its share.
template <typename Visit>
static __device__ __forceinline__ void fc_each_element(const fc_pool &p, int lane, const fc_window<0> &d,
                                                       const fc_window<1> &h, const fc_window<2> &w, Visit visit) {
#if LANES == 1 && T0 * T1 * T2 <= 32
#pragma unroll
#else
#pragma unroll 1
#endif
    for (int tap = lane; tap < T0 * T1 * T2; tap += LANES) {
        const int x = tap % T2, y = tap / T2 % T1, z = tap / (T1 * T2); // divisions by constants
        const int i = d.first + z * D0, j = h.first + y * D1, k = w.first + x * D2;
        if (i < 0 || i >= d.end || j < 0 || j >= h.end || k < 0 || k >= w.end) continue;
        visit(fc_in_plane(p.source_stride, i, j, k), ((fc_index)i * p.axis[1].size + j) * (fc_index)p.axis[2].size + k);
    }
}

#if MAXIMUM
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_maximum(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
                 const __grid_constant__ fc_pool p) {
    const fc_u32 index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    if (index >= p.count) return;
    const fc_element_place at(index, p);
    const fc_window<0> d(p.axis[0], at.at[2]);
    const fc_window<1> h(p.axis[1], at.at[3]);
    const fc_window<2> w(p.axis[2], at.at[4]);
    const value_t *plane = source + (p.source_at + at.at[0] * p.source_stride[0] + at.at[1] * p.source_stride[1]);
    sum_t best = LOWEST;
    fc_index where = -1;
    fc_each_element(p, lane, d, h, w, [&](fc_index offset, fc_index position) {
        const sum_t value = WIDEN(plane[offset]);
        if (where < 0 || value > best || IS_NAN(value)) best = value, where = position;
    });
#if LANES == 32
#pragma unroll
    for (int distance = 16; distance; distance /= 2) {
        const sum_t value = __shfl_xor_sync(0xffffffffu, best, distance);
        const fc_index other = __shfl_xor_sync(0xffffffffu, where, distance);
        // The last NaN; else the largest, of equals the first.
        const bool later = other > where,
                   larger = IS_NAN(value) ? later || !IS_NAN(best) : value > best || (value == best && !later);
        if (other >= 0 && (where < 0 || larger)) best = value, where = other;
    }
    if (lane) return;
#endif
    result[p.result_at + at.offset(p.result_stride)] = NARROW(best);
    if (places) places[p.index_at + at.offset(p.index_stride)] = where;
}
#endif

#if AVERAGE
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_average(const value_t *__restrict__ source, value_t *__restrict__ result, const __grid_constant__ fc_pool p) {
    const fc_u32 index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    if (index >= p.count) return;
    const fc_element_place at(index, p);
    const fc_window<0> d(p.axis[0], at.at[2]);
    const fc_window<1> h(p.axis[1], at.at[3]);
    const fc_window<2> w(p.axis[2], at.at[4]);
    const value_t *plane = source + (p.source_at + at.at[0] * p.source_stride[0] + at.at[1] * p.source_stride[1]);
    sum_t sum = 0;
    fc_each_element(p, lane, d, h, w, [&](fc_index offset, fc_index) { sum += WIDEN(plane[offset]); });
#if LANES == 32
#pragma unroll
    for (int distance = 16; distance; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (lane) return;
#endif
    result[p.result_at + at.offset(p.result_stride)] = NARROW(fc_divided(sum, fc_divisor(p, d, h, w)));
}
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
// The first and the last window of an axis that may own an element.
template <int AXIS> struct fc_owners {
    int first, last;
    __device__ __forceinline__ fc_owners(const fc_pool_axis &a, int element) {
        typedef fc_shape<AXIS> shape;
        if (shape::adaptive) {
            first = fc_quotient(element * a.outputs, a.by_size);
            last = fc_quotient((element + 1) * a.outputs - 1, a.by_size);
        } else {
            const int place = element + a.before, least = place - (shape::taps - 1) * shape::dilation;
            first = least <= 0 ? 0 : fc_quotient(least + shape::step - 1, a.by_step);
            last = min((int)fc_quotient(place, a.by_step), a.outputs - 1);
        }
    }
    static __device__ __forceinline__ bool owns(const fc_pool_axis &a, int output, int element) {
        typedef fc_shape<AXIS> shape;
        if (shape::adaptive || shape::dilation == 1) return true;
        const int distance = element + a.before - output * shape::step;
        return fc_quotient(distance, a.by_dilation) * shape::dilation == distance;
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 8)
    pool_gradient(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                  value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    const fc_element_place at(index, p);
    const fc_owners<0> d(p.axis[0], at.at[2]);
    const fc_owners<1> h(p.axis[1], at.at[3]);
    const fc_owners<2> w(p.axis[2], at.at[4]);
    gradient += p.result_at + at.at[0] * p.result_stride[0] + at.at[1] * p.result_stride[1];
    sum_t sum = 0;
#if MAXIMUM_GRADIENT
    places += p.index_at + at.at[0] * p.index_stride[0] + at.at[1] * p.index_stride[1];
    const fc_index own = ((fc_index)at.at[2] * p.axis[1].size + at.at[3]) * (fc_index)p.axis[2].size + at.at[4];
#endif
    for (int i = d.first; i <= d.last; i++) {
        if (!fc_owners<0>::owns(p.axis[0], i, at.at[2])) continue;
        for (int j = h.first; j <= h.last; j++) {
            if (!fc_owners<1>::owns(p.axis[1], j, at.at[3])) continue;
            for (int k = w.first; k <= w.last; k++) {
                if (!fc_owners<2>::owns(p.axis[2], k, at.at[4])) continue;
                const fc_index from = fc_in_plane(p.result_stride, i, j, k);
#if MAXIMUM_GRADIENT
                if (places[fc_in_plane(p.index_stride, i, j, k)] == own) sum += WIDEN(gradient[from]);
#else
                const long long divisor =
                    fc_divisor(p, fc_window<0>(p.axis[0], i), fc_window<1>(p.axis[1], j), fc_window<2>(p.axis[2], k));
                sum += fc_divided(WIDEN(gradient[from]), divisor);
#endif
            }
        }
    }
    source[p.source_at + at.offset(p.source_stride)] = NARROW(sum);
}
#endif
