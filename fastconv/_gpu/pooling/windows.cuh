// What poolings have in common: element types, the struct that tells of a problem, windows and places.
//
// Output o of an axis owns the source elements o * S - P + t * D, t < T, that exist; of an adaptive axis (A) those from
// floor(o * size / outputs) up to ceil((o + 1) * size / outputs). T0.. S0.. D0.. P0.. A0.. are of the axes d, h, w.
// INTEGER is the C type of arrays of integers, LOWEST its lowest value; other types are those of vectors.cuh. Places
// in a plane are less than 2^26. Subnormal numbers stay, whatever the compiler's option -ftz says.
#define THREADS 128

#ifdef INTEGER
typedef INTEGER value_t, sum_t;
static __device__ __forceinline__ bool fc_is_taken(value_t value, value_t best) { return value > best; }
static __device__ __forceinline__ bool fc_is_nan(value_t) { return false; }
static __device__ __forceinline__ sum_t fc_add(sum_t x, sum_t y) { return (sum_t)((fc_u64)x + (fc_u64)y); }
// The lowest integer over -1 does not fit its type; it wraps, as sums do.
static __device__ __forceinline__ sum_t fc_divided(sum_t sum, long long divisor) {
    return divisor == -1 ? (sum_t)(0 - (fc_u64)sum) : (sum_t)(sum / divisor);
}
template <int V> static __device__ __forceinline__ void fc_get(const value_t *from, sum_t (&to)[V]) { to[0] = *from; }
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
template <int V> static __device__ __forceinline__ void fc_put(value_t *to, const sum_t (&from)[V]) {
    fc_store<V>(to, from);
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
    fc_divider sizes[4]; // of what units are numbered along: the fastest first; the rest is the image
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
    // The first element; where there is none, one that is not less than `end`.
    __device__ __forceinline__ int begin() const { return first + below(0) * shape::dilation; }
    __device__ __forceinline__ bool is_empty() const {
        return begin() > min(end - 1, first + (shape::taps - 1) * shape::dilation);
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

static __device__ __forceinline__ fc_index fc_in_plane(const long long (&stride)[5], int d, int h, int w) {
    return (fc_index)d * (fc_index)stride[2] + (fc_index)h * (fc_index)stride[3] + (fc_index)w * (fc_index)stride[4];
}

// Where a unit lies: its number along each axis, and the offsets of elements.
struct fc_unit {
    int n, channel, d, h, w;
    __device__ __forceinline__ fc_unit(fc_u32 index, const fc_pool &p) {
        fc_u32 part[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const fc_u32 rest = fc_quotient(index, p.sizes[i]);
            part[i] = index - rest * p.sizes[i].d;
            index = rest;
        }
        n = index;
#if CHANNELS_LAST
        channel = part[0], w = part[1], h = part[2], d = part[3];
#else
        w = part[0], h = part[1], d = part[2], channel = part[3];
#endif
    }
    // Of the plane's first element.
    __device__ __forceinline__ long long plane(long long at, const long long (&stride)[5]) const {
        return at + n * stride[0] + channel * stride[1];
    }
};

// Places of V channels that are neighbours in memory: 64 bits each, aligned to 16 bytes where V is 2. What is no place
// of 31 bits becomes -1.
template <int V> static __device__ __forceinline__ void fc_get_places(const long long *from, int (&to)[V]) {
    static_assert(V <= 2, "16 bytes");
    int word[2 * V];
    if constexpr (V == 2) {
        const int4 x = *reinterpret_cast<const int4 *>(from);
        word[0] = x.x, word[1] = x.y, word[2] = x.z, word[3] = x.w;
    } else {
        const int2 x = *reinterpret_cast<const int2 *>(from);
        word[0] = x.x, word[1] = x.y;
    }
#pragma unroll
    for (int v = 0; v < V; v++) to[v] = word[2 * v + 1] ? -1 : word[2 * v];
}
template <int V> static __device__ __forceinline__ void fc_put_places(long long *to, const int (&from)[V]) {
    static_assert(V <= 2, "16 bytes");
    if constexpr (V == 2)
        *reinterpret_cast<int4 *>(to) = make_int4(from[0], from[0] >> 31, from[1], from[1] >> 31);
    else
        *to = from[0];
}
