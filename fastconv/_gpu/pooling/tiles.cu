// Pooling by windows of few elements, all loops unrolled. See windows.cuh; what is not here is in gather.cu.
//
// A unit is one thread's: of maxima and averages ROWS outputs under each other, of gradients U0 x U1 x U2 elements of
// the source; both of VECTOR channels that are neighbours in memory. Gradients gather: each element from the windows that
// own it, in their order, so that nothing is added atomically. A place outside of its own window counts nowhere here
// (`pool_strays` looks for those). Where U is a multiple of S, which windows own which element of a unit is known to
// the compiler; else U is 1.
//
// I0.. whether all windows of an axis lie inside; WHOLE: units have all their rows. PLACES: whether there are any.
// UNIT: neighbours along w are neighbours in memory. STORED: elements along w that are stored at once. DIVISOR: of all
// averages, if it is the same.
#define PITCH(stride) ((fc_index)(stride) * (fc_index)sizeof(value_t))

template <typename T> static __device__ __forceinline__ T *fc_step(T *from, fc_index pitch, int i) {
    return (T *)((const char *)from + (long long)i * pitch);
}
template <typename T> static __device__ __forceinline__ T *fc_along_w(T *from, const long long (&stride)[5], int i) {
    return UNIT ? from + i : from + (fc_index)i * (fc_index)stride[4];
}

#if MAXIMUM || AVERAGE
#if AVERAGE
#define NOTHING sum_t(0)
#else
#define NOTHING LOWEST
#endif

// What a unit has found in its windows so far.
struct fc_found {
    sum_t value[ROWS][VECTOR];
    int where[ROWS][VECTOR];
    __device__ __forceinline__ void add(int r, const sum_t (&x)[VECTOR], int place) {
#pragma unroll
        for (int v = 0; v < VECTOR; v++) {
#if AVERAGE
            value[r][v] = fc_add(value[r][v], x[v]);
#else
            const bool taken = fc_is_taken(x[v], value[r][v]);
            value[r][v] = taken ? x[v] : value[r][v];
            if (PLACES) where[r][v] = taken ? place : where[r][v];
#endif
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_tiles(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
               const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    fc_unit u(index, p);
    u.h *= ROWS, u.channel *= VECTOR;
    const fc_window<0> d(p.axis[0], u.d);
    const fc_window<1> h(p.axis[1], u.h);
    const fc_window<2> w(p.axis[2], u.w);
    const value_t *from = source + (u.plane(p.source_at, p.source_stride) +
                                    fc_in_plane(p.source_stride, d.first, h.first, w.first)); // may lie outside
    fc_found found;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int place = 0;
        if (PLACES) { // elements of the lowest value are not taken: the first one is there from the start
            const fc_window<1> own(p.axis[1], u.h + r);
            place = (d.begin() * p.axis[1].size + own.begin()) * p.axis[2].size + w.begin();
            if ((!I0 && d.is_empty()) || (!I1 && own.is_empty()) || (!I2 && w.is_empty())) place = -1;
        }
#pragma unroll
        for (int v = 0; v < VECTOR; v++) found.value[r][v] = NOTHING, found.where[r][v] = place;
    }
#pragma unroll
    for (int z = 0; z < T0; z++)
#pragma unroll
        for (int y = 0; y <= (ROWS - 1) * S1 + (T1 - 1) * D1; y++) {
            bool is_read = false;
#pragma unroll
            for (int r = 0; r < ROWS; r++) is_read |= y >= r * S1 && (y - r * S1) % D1 == 0 && (y - r * S1) / D1 < T1;
            if (!is_read) continue;
            const int i = d.first + z * D0, j = h.first + y;
            const bool inside = (I0 || (fc_u32)i < (fc_u32)p.axis[0].size) &&
                                ((I1 && WHOLE) || (fc_u32)j < (fc_u32)p.axis[1].size);
            const value_t *row = fc_step(fc_step(from, PITCH(p.source_stride[2]), z * D0), PITCH(p.source_stride[3]), y);
#pragma unroll
            for (int x = 0; x < T2; x++) {
                const int k = w.first + x * D2;
                if (!inside || !(I2 || (fc_u32)k < (fc_u32)p.axis[2].size)) continue;
                sum_t value[VECTOR];
                fc_get<VECTOR>(fc_along_w(row, p.source_stride, x * D2), value);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    if (y >= r * S1 && (y - r * S1) % D1 == 0 && (y - r * S1) / D1 < T1)
                        found.add(r, value, (i * p.axis[1].size + j) * p.axis[2].size + k);
            }
        }
    value_t *to = result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w));
    long long *at = places + (u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, u.d, u.h, u.w));
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (!WHOLE && u.h + r >= p.axis[1].outputs) break;
#if AVERAGE
        const long long divisor = fc_divisor(p, d, fc_window<1>(p.axis[1], u.h + r), w);
#pragma unroll
        for (int v = 0; v < VECTOR; v++) found.value[r][v] = fc_divided(found.value[r][v], divisor);
#endif
        fc_put<VECTOR>(fc_step(to, PITCH(p.result_stride[3]), r), found.value[r]);
#if PLACES
        fc_put_places<VECTOR>(at + (fc_index)r * (fc_index)p.index_stride[3], found.where[r]);
#endif
    }
}
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
// The windows of an axis that may own an element of a unit: base + k, first <= k <= last.
template <int AXIS> struct fc_owners {
    typedef fc_shape<AXIS> shape;
    static constexpr int size = AXIS == 0 ? U0 : AXIS == 1 ? U1 : U2;
    static constexpr bool known = size % shape::step == 0;
    static constexpr int reach = (shape::taps - 1) * shape::dilation, late = shape::before - reach;
    static constexpr int first = !known ? -(reach / shape::step) : late > 0 ? (late - 1) / shape::step + 1 : late / shape::step;
    static constexpr int last = known ? (size - 1 + shape::before) / shape::step : 0;
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

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_gradient_tiles(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                        value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    fc_unit u(index, p);
    u.channel *= VECTOR;
    typedef fc_owners<0> deep;
    typedef fc_owners<1> high;
    typedef fc_owners<2> wide;
    const deep d(u.d);
    const high h(u.h);
    const wide w(u.w);
    gradient += u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, d.base, h.base, w.base);
    u.d *= U0, u.h *= U1, u.w *= U2;
#if MAXIMUM_GRADIENT
    places += u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, d.base, h.base, w.base);
    const int own = (u.d * p.axis[1].size + u.h) * p.axis[2].size + u.w;
#endif
    sum_t sum[U0][U1][U2][VECTOR] = {};
#pragma unroll
    for (int i = deep::first; i <= deep::last; i++)
#pragma unroll
        for (int j = high::first; j <= high::last; j++)
#pragma unroll
            for (int k = wide::first; k <= wide::last; k++) {
                if ((fc_u32)(d.base + i) >= (fc_u32)p.axis[0].outputs ||
                    (fc_u32)(h.base + j) >= (fc_u32)p.axis[1].outputs ||
                    (fc_u32)(w.base + k) >= (fc_u32)p.axis[2].outputs)
                    continue;
                sum_t share[VECTOR];
                const value_t *row = fc_step(fc_step(gradient, PITCH(p.result_stride[2]), i), PITCH(p.result_stride[3]), j);
                fc_get<VECTOR>(fc_along_w(row, p.result_stride, k), share);
#if MAXIMUM_GRADIENT
                int place[VECTOR];
                fc_get_places<VECTOR>(places + fc_in_plane(p.index_stride, i, j, k), place);
#else
                const long long divisor = fc_divisor(p, fc_window<0>(p.axis[0], d.base + i),
                                                     fc_window<1>(p.axis[1], h.base + j), fc_window<2>(p.axis[2], w.base + k));
#pragma unroll
                for (int v = 0; v < VECTOR; v++) share[v] = fc_divided(share[v], divisor);
#endif
#pragma unroll
                for (int a = 0; a < U0; a++)
#pragma unroll
                    for (int b = 0; b < U1; b++)
#pragma unroll
                        for (int c = 0; c < U2; c++) {
                            if (!d.own(i, a) || !h.own(j, b) || !w.own(k, c)) continue;
#pragma unroll
                            for (int v = 0; v < VECTOR; v++) {
#if MAXIMUM_GRADIENT
                                if (place[v] == own + (a * p.axis[1].size + b) * p.axis[2].size + c)
#endif
                                    sum[a][b][c][v] = fc_add(sum[a][b][c][v], share[v]);
                            }
                        }
            }
    source += u.plane(p.source_at, p.source_stride) + fc_in_plane(p.source_stride, u.d, u.h, u.w);
#pragma unroll
    for (int a = 0; a < U0; a++)
#pragma unroll
        for (int b = 0; b < U1; b++) {
            if (!WHOLE && (u.d + a >= p.axis[0].size || u.h + b >= p.axis[1].size)) continue;
            value_t *row = fc_step(fc_step(source, PITCH(p.source_stride[2]), a), PITCH(p.source_stride[3]), b);
#if STORED > 1
            sum_t stored[U2];
#pragma unroll
            for (int c = 0; c < U2; c++) stored[c] = sum[a][b][c][0];
            fc_put<U2>(row, stored);
#else
#pragma unroll
            for (int c = 0; c < U2; c++)
                if (U2 == 1 || u.w + c < p.axis[2].size) fc_put<VECTOR>(fc_along_w(row, p.source_stride, c), sum[a][b][c]);
#endif
        }
}
#endif
