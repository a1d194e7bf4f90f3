// Gradients of poolings by small windows, all loops unrolled. See windows.cuh; what is not here is in gather.cu.
//
// A unit is one thread's: U0 x U1 x U2 elements of the source, of VECTOR channels that are neighbours in memory. Each
// element is the sum of the windows that own it, in their order, so that nothing is added atomically. A place outside
// of its own window counts nowhere here (`pool_strays` looks for those). Where U is a multiple of S, which windows own
// which element of a unit is known to the compiler; else U is 1.
//
// Windows are loaded LOADED along w at a time, from LEAD before the first one that is needed; STORED elements along w
// are stored at once. One of VECTOR and the other two is 1. WHOLE: no unit reaches beyond the source. UNIT: neighbours
// along w are neighbours in memory.
#define PITCH(stride) ((fc_index)(stride) * (fc_index)sizeof(value_t))

template <typename T> static __device__ __forceinline__ T *fc_step(T *from, fc_index pitch, int i) {
    return (T *)((const char *)from + (long long)i * pitch);
}

// The windows of an axis that may own an element of a unit: base + k, first <= k <= last.
template <int AXIS> struct fc_owners {
    typedef fc_shape<AXIS> shape;
    static constexpr int size = AXIS == 0 ? U0 : AXIS == 1 ? U1 : U2;
    static constexpr bool known = size % shape::step == 0;
    static constexpr int reach = (shape::taps - 1) * shape::dilation, late = shape::before - reach;
    static constexpr int first = !known     ? -(reach / shape::step)
                                 : late > 0 ? (late - 1) / shape::step + 1
                                            : late / shape::step;
    static constexpr int last = known ? (size - 1 + shape::before) / shape::step : 0;
    static constexpr int count = last - first + 1;
    int base, phase;
    __device__ __forceinline__ fc_owners(int unit) {
        base = known ? unit * (size / shape::step) : (unit + shape::before) / shape::step;
        phase = known ? shape::before : unit + shape::before - base * shape::step;
    }
    __device__ __forceinline__ bool own(int k, int element) const {
        const int distance = phase + element - k * shape::step;
        return distance >= 0 && distance <= reach && distance % shape::dilation == 0;
    }
};
typedef fc_owners<0> deep;
typedef fc_owners<1> high;
typedef fc_owners<2> wide;

#define LEAD ((wide::first % LOADED + LOADED) % LOADED)
#define LOADS ((LEAD + wide::count - 1) / LOADED + 1)
#define SHARES (LOADS * LOADED * VECTOR)

// The windows of a row that a unit reads: `from` is the place of window `left`, which is LEAD before the first one.
template <typename Get>
static __device__ __forceinline__ void fc_each_load(bool inside, int left, const fc_pool &p, Get get) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) get(i, inside && (fc_u32)(left + i * LOADED) < (fc_u32)p.axis[2].outputs);
}
template <typename T> static __device__ __forceinline__ T *fc_load_at(T *from, const long long (&stride)[5], int i) {
    return UNIT ? from + i * LOADED : from + (fc_index)(i * LOADED) * (fc_index)stride[4];
}

// The first element of a thread's unit.
static __device__ __forceinline__ fc_unit fc_first(const fc_unit &unit) {
    fc_unit u = unit;
    u.d *= U0, u.h *= U1, u.w *= U2, u.channel *= VECTOR;
    return u;
}

// A unit's elements once more, each by divisions: where averages are very small.
static __device__ __forceinline__ void fc_exactly(const value_t *gradient, value_t *source, const fc_pool &p) {
    const fc_unit first = fc_first(fc_unit(fc_block_index(0) * THREADS + fc_thread_index(), p));
    fc_unit u = first;
#pragma unroll 1
    for (int i = 0; i < U0 * U1 * U2 * VECTOR; i++) {
        u.channel = first.channel + i % VECTOR, u.w = first.w + i / VECTOR % U2;
        u.h = first.h + i / (VECTOR * U2) % U1, u.d = first.d + i / (VECTOR * U2 * U1);
        if (u.d < p.axis[0].size && u.h < p.axis[1].size && u.w < p.axis[2].size)
            fc_put_gradient(gradient, nullptr, source, u, p);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, (sizeof(sum_t) == 8 ? 512 : 1024) / THREADS)
    pool_gradient_tiles(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                        value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    const fc_unit unit(index, p);
    const deep d(unit.d);
    const high h(unit.h);
    const wide w(unit.w);
    const fc_unit u = fc_first(unit);
    const int left = w.base + wide::first - LEAD;
    const value_t *from =
        gradient + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, d.base, h.base, left));
#if MAXIMUM_GRADIENT
    places += u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, d.base, h.base, left);
    const int own = (u.d * p.axis[1].size + u.h) * p.axis[2].size + u.w;
#endif
    sum_t sum[U0][U1][U2][VECTOR] = {};
    bool is_odd = false;
#pragma unroll
    for (int i = deep::first; i <= deep::last; i++)
#pragma unroll
        for (int j = high::first; j <= high::last; j++) {
            const bool inside =
                (fc_u32)(d.base + i) < (fc_u32)p.axis[0].outputs && (fc_u32)(h.base + j) < (fc_u32)p.axis[1].outputs;
            const value_t *row = fc_step(fc_step(from, PITCH(p.result_stride[2]), i), PITCH(p.result_stride[3]), j);
            sum_t shares[SHARES];
            fc_each_load(inside, left, p, [&](int load, bool there) {
                sum_t part[LOADED * VECTOR];
                fc_get_if<LOADED * VECTOR>(there, fc_load_at(row, p.result_stride, load), part);
#pragma unroll
                for (int v = 0; v < LOADED * VECTOR; v++) shares[load * LOADED * VECTOR + v] = part[v];
            });
#if MAXIMUM_GRADIENT
            const long long *named =
                places + ((fc_index)i * (fc_index)p.index_stride[2] + (fc_index)j * (fc_index)p.index_stride[3]);
            int place[SHARES];
            fc_each_load(inside, left, p, [&](int load, bool there) {
                int part[LOADED * VECTOR];
                fc_get_places<LOADED * VECTOR>(fc_load_at(named, p.index_stride, load), part, there);
#pragma unroll
                for (int v = 0; v < LOADED * VECTOR; v++) place[load * LOADED * VECTOR + v] = part[v] - own;
            });
#endif
#pragma unroll
            for (int k = wide::first; k <= wide::last; k++)
#pragma unroll
                for (int v = 0; v < VECTOR; v++) {
                    const int at = (LEAD + k - wide::first) * VECTOR + v;
                    sum_t share = shares[at];
#if AVERAGE_GRADIENT && defined(DIVISOR)
                    share = fc_average(share, is_odd);
#elif AVERAGE_GRADIENT
                    share = fc_divided(share, fc_divisor(p, fc_window<0>(p.axis[0], d.base + i),
                                                         fc_window<1>(p.axis[1], h.base + j),
                                                         fc_window<2>(p.axis[2], w.base + k)));
#endif
#pragma unroll
                    for (int a = 0; a < U0; a++)
#pragma unroll
                        for (int b = 0; b < U1; b++)
#pragma unroll
                            for (int c = 0; c < U2; c++) {
                                if (!d.own(i, a) || !h.own(j, b) || !w.own(k, c)) continue;
                                sum_t &s = sum[a][b][c][v];
#if MAXIMUM_GRADIENT
                                if (place[at] - (a * p.axis[1].size + b) * p.axis[2].size == c)
#endif
                                    s = fc_add(s, share);
                            }
                }
        }
    value_t *to = source + (u.plane(p.source_at, p.source_stride) + fc_in_plane(p.source_stride, u.d, u.h, u.w));
#pragma unroll
    for (int a = 0; a < U0; a++)
#pragma unroll
        for (int b = 0; b < U1; b++) {
            if (!WHOLE && (u.d + a >= p.axis[0].size || u.h + b >= p.axis[1].size)) continue;
            value_t *row = fc_step(fc_step(to, PITCH(p.source_stride[2]), a), PITCH(p.source_stride[3]), b);
#pragma unroll
            for (int c = 0; c < U2; c += STORED) {
                if (!WHOLE && u.w + c >= p.axis[2].size) continue;
                sum_t stored[STORED * VECTOR];
#pragma unroll
                for (int v = 0; v < STORED * VECTOR; v++) stored[v] = sum[a][b][c + v / VECTOR][v % VECTOR];
                fc_put<STORED * VECTOR>(row + (STORED > 1 ? c : (fc_index)c * (fc_index)p.source_stride[4]), stored);
            }
        }
#if AVERAGE_GRADIENT && defined(DIVISOR)
    if (is_odd) fc_exactly(gradient, source, p);
#endif
}
