// What poolings have in common: element types, the struct that tells of a problem, windows and places.
//
// Output o of an axis owns the source elements o * S - P + t * D, t < T, that exist; of an adaptive axis (A) those from
// floor(o * size / outputs) up to ceil((o + 1) * size / outputs). T0.. S0.. D0.. P0.. A0.. are of the axes d, h, w.
// INTEGER is the C type of arrays of integers, LOWEST its lowest value; other types are those of vectors.cuh. Places
// in a plane are less than 2^26. Subnormal numbers stay, whatever the compiler's option -ftz says.
// ONES: a bit for each of the numbers of a unit that can only be 0. DIVISOR: of all averages, if it is the same; then
// HIGH and LOW are 1 / DIVISOR rounded towards zero and what is left of it, or IS_POWER is 1 and HIGH is all of it.
// THREADS: of a block.

#if MAXIMUM
#define NOTHING LOWEST
#else
#define NOTHING sum_t(0)
#endif

#ifdef INTEGER
typedef INTEGER value_t, sum_t;
static __device__ __forceinline__ bool fc_is_taken(value_t value, value_t best) { return value > best; }
static __device__ __forceinline__ bool fc_is_nan(value_t) { return false; }
static __device__ __forceinline__ void fc_take(value_t &best, value_t x) { best = x > best ? x : best; }
static __device__ __forceinline__ void fc_take(value_t &best, int &where, value_t x, int place) {
    where = x > best ? place : where;
    fc_take(best, x);
}
static __device__ __forceinline__ sum_t fc_add(sum_t x, sum_t y) { return (sum_t)((fc_u64)x + (fc_u64)y); }
// The lowest integer over -1 does not fit its type; it wraps, as sums do.
static __device__ __forceinline__ sum_t fc_divided(sum_t sum, long long divisor) {
    return divisor == -1 ? (sum_t)(0 - (fc_u64)sum) : (sum_t)(sum / divisor);
}
template <int V> static __device__ __forceinline__ void fc_get(const value_t *from, sum_t (&to)[V]) { to[0] = *from; }
template <int V> static __device__ __forceinline__ void fc_get_if(bool there, const value_t *from, sum_t (&to)[V]) {
    to[0] = there ? *from : NOTHING;
}
template <int V> static __device__ __forceinline__ void fc_put(value_t *to, const sum_t (&from)[V]) { *to = from[0]; }
#else
typedef fc_element value_t;
typedef fc_sum sum_t;
#define LOWEST (-sum_t(1) / sum_t(0))
static __device__ __forceinline__ bool fc_is_taken(sum_t value, sum_t best) { return fc_is_larger(value, best); }
static __device__ __forceinline__ bool fc_is_nan(sum_t x) { return fc_is_larger(x, -LOWEST); }
static __device__ __forceinline__ sum_t fc_add(sum_t x, sum_t y) { return fc_plus(x, y); }
static __device__ __forceinline__ sum_t fc_divided(sum_t sum, long long divisor) {
    return fc_ratio(sum, (sum_t)divisor);
}
template <int V> static __device__ __forceinline__ void fc_get(const value_t *from, sum_t (&to)[V]) {
    fc_load<V>(from, to);
}
// Those that are not there are NOTHING. What is converted is the vector, whether it has been loaded or not: no load
// waits for another one.
#if ELEMENT == FLOAT32 || ELEMENT == FLOAT64
#define NOTHING_BITS NOTHING
#elif MAXIMUM
#define NOTHING_BITS (ELEMENT == FLOAT16 ? 0xfc00fc00u : 0xff80ff80u)
#else
#define NOTHING_BITS 0u
#endif
template <int V> static __device__ __forceinline__ void fc_get_if(bool there, const value_t *from, sum_t (&to)[V]) {
    fc_bits<V> bits;
    if constexpr (sizeof(bits) <= (sizeof(value_t) == 2 ? 4 : sizeof(value_t)))
        bits.x = (decltype(bits.x))NOTHING_BITS;
    else if constexpr (V * sizeof(value_t) == 2 * sizeof(bits.x.x))
        bits.x.x = bits.x.y = NOTHING_BITS;
    else
        bits.x.x = bits.x.y = bits.x.z = bits.x.w = NOTHING_BITS;
    if (there) bits.x = *reinterpret_cast<const decltype(bits.x) *>(from);
    fc_widen_bits<V>(bits, to);
}
template <int V> static __device__ __forceinline__ void fc_put(value_t *to, const sum_t (&from)[V]) {
    fc_store<V>(to, from);
}
// W words of two elements each.
template <int W> static __device__ __forceinline__ void fc_get_words(bool there, const value_t *from, fc_u32 (&to)[W]) {
    static_assert(W == 1 || W == 2 || W == 4, "vectors of up to 16 bytes");
#pragma unroll
    for (int i = 0; i < W; i++) to[i] = NOTHING_BITS;
    if (there) {
        if constexpr (W == 4) {
            const uint4 x = *reinterpret_cast<const uint4 *>(from);
            to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
        } else if constexpr (W == 2) {
            const uint2 x = *reinterpret_cast<const uint2 *>(from);
            to[0] = x.x, to[1] = x.y;
        } else {
            to[0] = *reinterpret_cast<const fc_u32 *>(from);
        }
    }
}
#endif

struct fc_pool_axis {
    int size, outputs, after; // after: padding
    fc_divider by_size, by_outputs;
};
struct fc_pool {
    long long source_stride[5], result_stride[5], index_stride[5];
    long long source_at, result_at, index_at; // elements from the arrays' starts to those of the first image
    long long divisor;                        // 0: the number of elements
    fc_pool_axis axis[3];
    fc_divider sizes[5]; // of what units are numbered along: the fastest first; the rest is the image
    fc_u32 count;        // units
    int count_padding;
};

// Taps, steps, distances and padding of an axis as constants.
template <int AXIS> struct fc_shape {
    static constexpr int taps = AXIS == 0 ? T0 : AXIS == 1 ? T1 : T2, step = AXIS == 0 ? S0 : AXIS == 1 ? S1 : S2;
    static constexpr int dilation = AXIS == 0 ? D0 : AXIS == 1 ? D1 : D2, before = AXIS == 0 ? P0 : AXIS == 1 ? P1 : P2;
    static constexpr bool adaptive = AXIS == 0 ? A0 : AXIS == 1 ? A1 : A2;
};

// The elements first + t * dilation, t < taps, from 0 to `end`.
template <int AXIS> struct fc_window {
    typedef fc_shape<AXIS> shape;
    int first, end;
    __device__ __forceinline__ fc_window(const fc_pool_axis &a, int output) {
        if (shape::adaptive) {
            first = fc_quotient(output * a.size, a.by_outputs);
            end = fc_quotient((output + 1) * a.size + a.outputs - 1, a.by_outputs);
        } else {
            first = output * shape::step - shape::before;
            end = a.size;
        }
    }
    // The number of elements before `limit`.
    __device__ __forceinline__ int below(int limit) const {
        return limit <= first ? 0 : min((limit - 1 - first) / shape::dilation + 1, shape::taps);
    }
    // The number of elements that an average divides by.
    __device__ __forceinline__ int counted(const fc_pool_axis &a, bool with_padding) const {
        if (shape::adaptive) return end - first;
        return with_padding ? below(a.size + a.after) : below(a.size) - below(0);
    }
    __device__ __forceinline__ bool has(int element) const {
        const int distance = element - first;
        if (shape::adaptive) return distance >= 0 && element < end;
        return distance >= 0 && distance % shape::dilation == 0 && distance / shape::dilation < shape::taps;
    }
};

static __device__ __forceinline__ long long fc_divisor(const fc_pool &p, const fc_window<0> &d, const fc_window<1> &h,
                                                       const fc_window<2> &w) {
#ifdef DIVISOR
    return DIVISOR;
#else
    if (p.divisor) return p.divisor;
    const bool pad = p.count_padding;
    const fc_u32 count = d.counted(p.axis[0], pad) * h.counted(p.axis[1], pad) * w.counted(p.axis[2], pad);
    return count ? count : 1;
#endif
}

#ifdef DIVISOR
// A sum becomes an average. Two products with the parts of 1 / DIVISOR are less than 2^-45 of the quotient away from
// it, and a quotient by less than 2^16 that is no float is 2^-41 of it away from where rounding changes; but where
// products are rounded like subnormal numbers: `is_small` becomes true for sums that may be so small.
static __device__ __forceinline__ sum_t fc_average(sum_t sum, bool &is_small) {
#ifndef HIGH
    return fc_divided(sum, DIVISOR);
#elif IS_POWER
    return fc_times(sum, (sum_t)HIGH);
#else
    if (ELEMENT != FLOAT16) is_small |= 2 * __float_as_uint(sum) - 2 < 2 * 0x17000000u; // of 2^-81; not zeros
    return fc_fma(sum, HIGH, fc_times(sum, LOW));
#endif
}
#endif

static __device__ __forceinline__ fc_index fc_in_plane(const long long (&stride)[5], int d, int h, int w) {
    return (fc_index)d * (fc_index)stride[2] + (fc_index)h * (fc_index)stride[3] + (fc_index)w * (fc_index)stride[4];
}

// Where a unit lies: its number along each axis, and the offsets of elements. Units are numbered along some channels,
// w, h, d, the runs of so many channels, and the images.
struct fc_unit {
    int n, channel, d, h, w;
    explicit __device__ __forceinline__ fc_unit(int plane) : n(0), channel(plane), d(0), h(0), w(0) {}
    __device__ __forceinline__ fc_unit(fc_u32 index, const fc_pool &p) {
        fc_u32 part[5];
#pragma unroll
        for (int i = 0; i < 5; i++) {
            const bool is_last = ONES >> (i + 1) == (1 << (5 - i)) - 1;
            const fc_u32 rest = ONES >> i & 1 ? index : is_last ? 0 : fc_quotient(index, p.sizes[i]);
            part[i] = ONES >> i & 1 ? 0 : is_last ? index : index - rest * p.sizes[i].d;
            index = rest;
        }
        n = index, w = part[1], h = part[2], d = part[3];
        channel = part[4] * (ONES & 1 ? 1 : p.sizes[0].d) + part[0];
    }
    // Of the plane's first element.
    __device__ __forceinline__ long long plane(long long at, const long long (&stride)[5]) const {
        return at + n * stride[0] + channel * stride[1];
    }
};

// Places of V elements that are neighbours in memory: 64 bits each, aligned to 16 bytes where V is more than 1. What is
// no place of 31 bits becomes -1, as what is not there.
template <int V>
static __device__ __forceinline__ void fc_get_places(const long long *from, int (&to)[V], bool there = true) {
    int word[2 * V];
#pragma unroll
    for (int v = 0; v < V; v += 2) {
        if constexpr (V > 1) {
            int4 x = make_int4(-1, 0, -1, 0);
            if (there) x = *reinterpret_cast<const int4 *>(from + v);
            word[2 * v] = x.x, word[2 * v + 1] = x.y, word[2 * v + 2] = x.z, word[2 * v + 3] = x.w;
        } else {
            int2 x = make_int2(-1, 0);
            if (there) x = *reinterpret_cast<const int2 *>(from);
            word[0] = x.x, word[1] = x.y;
        }
    }
#pragma unroll
    for (int v = 0; v < V; v++) to[v] = word[2 * v + 1] ? -1 : word[2 * v];
}
template <int V> static __device__ __forceinline__ void fc_put_places(long long *to, const int (&from)[V]) {
#pragma unroll
    for (int v = 0; v < V; v += 2)
        if constexpr (V > 1)
            *reinterpret_cast<int4 *>(to + v) = make_int4(from[v], from[v] >> 31, from[v + 1], from[v + 1] >> 31);
        else
            *to = from[0];
}

#if AVERAGE
// What sums of up to 32 elements are added in.
#if defined(INTEGER) || T0 * T1 * T2 <= 32
typedef sum_t total_t;
static __device__ __forceinline__ sum_t fc_mean(sum_t total, long long divisor) { return fc_divided(total, divisor); }
#else
typedef double total_t;
static __device__ __forceinline__ sum_t fc_mean(double total, long long divisor) { return (sum_t)(total / divisor); }
#endif
#endif

// Shows every EVERY-th element of an output's window, from the `lane`-th on, to `found`.
template <int EVERY, typename Found>
static __device__ __forceinline__ void fc_search(const value_t *source, const fc_unit &u, const fc_pool &p, int lane,
                                                 Found &found) {
    const fc_window<0> d(p.axis[0], u.d);
    const fc_window<1> h(p.axis[1], u.h);
    const fc_window<2> w(p.axis[2], u.w);
    const value_t *plane = source + u.plane(p.source_at, p.source_stride);
#pragma unroll SEARCHED
    for (int tap = lane; tap < T0 * T1 * T2; tap += EVERY) {
        const int x = tap % T2, y = tap / T2 % T1, z = tap / (T1 * T2); // divisions by constants
        const int i = d.first + z * D0, j = h.first + y * D1, k = w.first + x * D2;
        if (i < 0 || i >= d.end || j < 0 || j >= h.end || k < 0 || k >= w.end) continue;
        sum_t value[1];
        fc_get<1>(plane + fc_in_plane(p.source_stride, i, j, k), value);
        found.add(value[0], (i * p.axis[1].size + j) * p.axis[2].size + k);
    }
}

#if MAXIMUM
// The largest of the elements that have been shown, the first of equals, the last NaN; -1 where there is none.
struct fc_maximum {
    sum_t best = LOWEST;
    int where = -1;
    __device__ __forceinline__ void add(sum_t value, int place, bool there = true) {
        const bool taken = there & (where < 0 | fc_is_taken(value, best));
        best = taken ? value : best, where = taken ? place : where;
    }
    // What another one has been shown: the last NaN is taken; else the largest, of equals the first.
    __device__ __forceinline__ void merge(const fc_maximum &other) {
        const bool later = other.where > where, are_both = fc_is_nan(best) == fc_is_nan(other.best);
        const bool is_same = are_both & (fc_is_taken(best, other.best) == fc_is_taken(other.best, best));
        const bool larger = is_same ? later == fc_is_nan(best) : fc_is_taken(other.best, best) & !fc_is_nan(best);
        const bool taken = (other.where >= 0) & ((where < 0) | larger);
        best = taken ? other.best : best, where = taken ? other.where : where;
    }
};
static __device__ __forceinline__ void fc_put_maximum(value_t *result, long long *places, const fc_unit &u,
                                                      const fc_pool &p, const fc_maximum &found) {
    const sum_t value[1] = {found.best};
    fc_put<1>(result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w)), value);
    if (places) places[u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, u.d, u.h, u.w)] = found.where;
}
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
// The first and the last window of an axis that may own an element.
template <int AXIS> struct fc_reach {
    typedef fc_shape<AXIS> shape;
    int first, last;
    __device__ __forceinline__ fc_reach(const fc_pool_axis &a, int element) {
        if (shape::adaptive) {
            first = fc_quotient(element * a.outputs, a.by_size);
            last = fc_quotient((element + 1) * a.outputs - 1, a.by_size);
        } else {
            const int place = element + shape::before, least = place - (shape::taps - 1) * shape::dilation;
            first = least <= 0 ? 0 : (least + shape::step - 1) / shape::step;
            last = min(place / shape::step, a.outputs - 1);
        }
    }
    static __device__ __forceinline__ bool owns(int output, int element) {
        return shape::adaptive || (element + shape::before - output * shape::step) % shape::dilation == 0;
    }
};

// The gradient of one element.
static __device__ __forceinline__ void fc_put_gradient(const value_t *gradient, const long long *places,
                                                       value_t *source, const fc_unit &u, const fc_pool &p) {
    const fc_reach<0> d(p.axis[0], u.d);
    const fc_reach<1> h(p.axis[1], u.h);
    const fc_reach<2> w(p.axis[2], u.w);
    gradient += u.plane(p.result_at, p.result_stride);
    sum_t sum[1] = {0};
#if MAXIMUM_GRADIENT
    places += u.plane(p.index_at, p.index_stride);
    const int own = (u.d * p.axis[1].size + u.h) * p.axis[2].size + u.w;
#endif
    for (int i = d.first; i <= d.last; i++) {
        if (!fc_reach<0>::owns(i, u.d)) continue;
        for (int j = h.first; j <= h.last; j++) {
            if (!fc_reach<1>::owns(j, u.h)) continue;
#pragma unroll 1
            for (int k = w.first; k <= w.last; k++) {
                if (!fc_reach<2>::owns(k, u.w)) continue;
                sum_t share[1];
                fc_get<1>(gradient + fc_in_plane(p.result_stride, i, j, k), share);
#if MAXIMUM_GRADIENT
                int place[1];
                fc_get_places<1>(places + fc_in_plane(p.index_stride, i, j, k), place);
                if (place[0] == own) sum[0] = fc_add(sum[0], share[0]);
#else
                const long long divisor =
                    fc_divisor(p, fc_window<0>(p.axis[0], i), fc_window<1>(p.axis[1], j), fc_window<2>(p.axis[2], k));
                sum[0] = fc_add(sum[0], fc_divided(share[0], divisor));
#endif
            }
        }
    }
    fc_put<1>(source + (u.plane(p.source_at, p.source_stride) + fc_in_plane(p.source_stride, u.d, u.h, u.w)), sum);
}
#endif
