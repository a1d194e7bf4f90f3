// Poolings of whole planes of SIZE elements, which lie without gaps, or, channels last, evenly. See windows.cuh.
//
// Sums are those of gather.cu: channels first, a warp adds up PLANES planes, lane i of each the elements i, i + 32,
// ..., then all lanes' in double, in the order of a butterfly; each step of it halves the planes that a lane goes on
// with. AT_ONCE loads of each, a power of two up to 32, are under way at a time. Channels last, a thread has VECTOR
// channels. Averages are those of more than 32 elements.
//
// Gradients: channels first, a thread has VECTOR elements, of two planes at most; channels last, VECTOR channels of RUN
// elements.
#define LOADS ((SIZE + 31) / 32) // of a lane
#ifdef DIVISOR
#define OF_ALL DIVISOR
#else
#define OF_ALL p.divisor
#endif

#if MAXIMUM || AVERAGE
// What a lane, or a thread, has found in a plane.
struct fc_found {
#if MAXIMUM
    fc_maximum all;
    __device__ __forceinline__ void add(sum_t value, int place, bool there = true) { all.add(value, place, there); }
    __device__ __forceinline__ void end() {}
    __device__ __forceinline__ fc_found from(int distance) const {
        fc_found other;
        other.all.best = __shfl_xor_sync(0xffffffffu, all.best, distance);
        other.all.where = __shfl_xor_sync(0xffffffffu, all.where, distance);
        return other;
    }
    __device__ __forceinline__ void merge(const fc_found &other) { all.merge(other.all); }
    static __device__ __forceinline__ fc_found one_of(bool is_first, const fc_found &x, const fc_found &y) {
        fc_found one;
        one.all.best = is_first ? x.all.best : y.all.best, one.all.where = is_first ? x.all.where : y.all.where;
        return one;
    }
#else
    sum_t sum = 0;
    total_t total = 0;
    __device__ __forceinline__ void add(sum_t value, int, bool = true) { sum = fc_add(sum, value); }
    __device__ __forceinline__ void end() { total += sum, sum = 0; }
    __device__ __forceinline__ fc_found from(int distance) const {
        fc_found other;
        other.total = __shfl_xor_sync(0xffffffffu, total, distance);
        return other;
    }
    __device__ __forceinline__ void merge(const fc_found &other) { total += other.total; }
    static __device__ __forceinline__ fc_found one_of(bool is_first, const fc_found &x, const fc_found &y) {
        fc_found one;
        one.total = is_first ? x.total : y.total;
        return one;
    }
#endif
};

static __device__ __forceinline__ void fc_put_found(value_t *result, long long *places, const fc_unit &u,
                                                    const fc_pool &p, const fc_found &found) {
#if MAXIMUM
    fc_put_maximum(result, places, u, p, found.all);
#else
    const sum_t value[1] = {fc_mean(found.total + sum_t(0), OF_ALL)};
    fc_put<1>(result + u.plane(p.result_at, p.result_stride), value);
#endif
}

#if CHANNELS_LAST
template <int COUNT>
static __device__ __forceinline__ void fc_add_group(const value_t *from, int begin, const fc_pool &p,
                                                    fc_found (&found)[VECTOR]) {
    sum_t value[COUNT][VECTOR];
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        fc_get<VECTOR>(from + (fc_index)(begin + i) * (fc_index)p.source_stride[4], value[i]);
#pragma unroll
    for (int i = 0; i < COUNT; i++)
#pragma unroll
        for (int v = 0; v < VECTOR; v++) found[v].add(value[i][v], begin + i);
#pragma unroll
    for (int v = 0; v < VECTOR; v++) found[v].end();
}

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_planes(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
                const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    fc_unit u(index, p);
    u.channel *= VECTOR;
    const value_t *from = source + u.plane(p.source_at, p.source_stride);
    fc_found found[VECTOR];
#pragma unroll 1
    for (int begin = 0; begin + 32 <= SIZE; begin += 32) fc_add_group<32>(from, begin, p, found);
    if (SIZE % 32) fc_add_group<SIZE % 32>(from, SIZE / 32 * 32, p, found);
#pragma unroll
    for (int v = 0; v < VECTOR; v++, u.channel++) fc_put_found(result, places, u, p, found[v]);
}
#else
extern "C" __global__ void __launch_bounds__(THREADS)
    pool_planes(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
                const __grid_constant__ fc_pool p) {
    const fc_u32 first = (blockIdx.x * THREADS + threadIdx.x) / 32 * PLANES;
    const int lane = threadIdx.x % 32;
    if (first >= p.count) return;
    const value_t *from = source + (p.source_at + (long long)first * SIZE + lane);
    fc_found found[PLANES];
#pragma unroll 1
    for (int begin = 0; begin < LOADS; begin += AT_ONCE) {
        sum_t value[AT_ONCE][PLANES];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
            for (int k = 0; k < PLANES; k++)
                fc_get_if<1>(32 * (begin + i) + lane < SIZE && first + k < p.count,
                             from + (k * SIZE + 32 * (begin + i)), *(sum_t(*)[1]) & value[i][k]);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
            for (int k = 0; k < PLANES; k++)
                found[k].add(value[i][k], 32 * (begin + i) + lane, !MAXIMUM || 32 * (begin + i) + lane < SIZE);
        if ((begin + AT_ONCE) % 32 == 0 || begin + AT_ONCE >= LOADS)
#pragma unroll
            for (int k = 0; k < PLANES; k++) found[k].end();
    }
    fc_u32 number = 0;
#pragma unroll
    for (int step = 0; step < 5; step++) {
        const int distance = 16 >> step, half = PLANES >> (step + 1);
        const bool upper = half && lane & distance;
        if (upper) number += half;
#pragma unroll
        for (int k = 0; k < (half ? half : 1); k++) {
            const fc_found kept = fc_found::one_of(upper, found[k + half], found[k]);
            const fc_found other = fc_found::one_of(upper, found[k], found[k + half]).from(distance);
            found[k] = kept;
            found[k].merge(other);
        }
    }
    if (lane % (32 / PLANES) || first + number >= p.count) return;
    const fc_unit u(first + number);
    fc_put_found(result, places, u, p, found[0]);
}
#endif
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
// Of V planes that are neighbours along the channels, their elements' gradient, but for where the maximum is not.
template <int V> struct fc_share {
    sum_t share[V];
    int place[V];
    __device__ __forceinline__ fc_share(const value_t *gradient, const long long *places, const fc_unit &u,
                                        const fc_pool &p, bool there = true) {
        fc_get_if<V>(there, gradient + u.plane(p.result_at, p.result_stride), share);
#if MAXIMUM_GRADIENT
        fc_get_places<V>(places + u.plane(p.index_at, p.index_stride), place, there);
#endif
#pragma unroll
        for (int v = 0; v < V; v++) {
#if AVERAGE_GRADIENT
#ifdef DIVISOR
            bool is_small = false;
            const sum_t average = fc_average(share[v], is_small);
            share[v] = is_small ? fc_divided(share[v], DIVISOR) : average;
#else
            share[v] = fc_divided(share[v], OF_ALL);
#endif
#endif
            share[v] = fc_add(sum_t(0), share[v]);
        }
    }
    __device__ __forceinline__ sum_t of(int v, int element) const {
        return AVERAGE_GRADIENT || place[v] == element ? share[v] : sum_t(0);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_gradient_planes(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                         value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    sum_t sum[VECTOR];
#if CHANNELS_LAST
    fc_unit u(index, p);
    u.channel *= VECTOR;
    const fc_share<VECTOR> own(gradient, places, u, p);
    value_t *to = source + u.plane(p.source_at, p.source_stride);
#pragma unroll
    for (int i = 0; i < RUN; i++) {
        const int element = u.w * RUN + i;
        if (SIZE % RUN && element >= SIZE) break;
#pragma unroll
        for (int v = 0; v < VECTOR; v++) sum[v] = own.of(v, element);
        fc_put<VECTOR>(to + (fc_index)element * (fc_index)p.source_stride[4], sum);
    }
#else
    fc_unit u(index * VECTOR / SIZE);
    const int element = index * VECTOR - u.channel * SIZE;
    const fc_share<1> own(gradient, places, u, p);
    u.channel++;
    const fc_share<1> next(gradient, places, u, p, element + VECTOR > SIZE);
#pragma unroll
    for (int v = 0; v < VECTOR; v++)
        sum[v] = element + v < SIZE ? own.of(0, element + v) : next.of(0, element + v - SIZE);
    fc_put<VECTOR>(source + (p.source_at + (long long)index * VECTOR), sum);
#endif
}
#endif
