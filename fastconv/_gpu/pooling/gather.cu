// Pooling by any windows, and what is wrong with given places. See windows.cuh; small windows are in tiles.cu.
//
// One thread computes one element, or with LANES == 32 a warp does. Gradients gather, each element of the source from
// the windows that own it, in their order. Windows of more than 32 elements are averaged in groups of that many, whose
// sums are added in double.

#if MAXIMUM || AVERAGE
#if defined(INTEGER) || T0 * T1 * T2 <= 32
typedef sum_t total_t;
static __device__ __forceinline__ sum_t fc_mean(sum_t total, long long divisor) { return fc_divided(total, divisor); }
#else
typedef double total_t;
static __device__ __forceinline__ sum_t fc_mean(double total, long long divisor) { return (sum_t)(total / divisor); }
#endif

// Adds `value` of the next element, or for the others of the warp what they have found.
struct fc_found {
#if MAXIMUM
    sum_t best = LOWEST;
    int where = -1;
    __device__ __forceinline__ void add(sum_t value, int place) {
        if (where < 0 || fc_is_taken(value, best)) best = value, where = place;
    }
    __device__ __forceinline__ void add_lanes() {
#pragma unroll
        for (int distance = 16; distance; distance /= 2) {
            const sum_t value = __shfl_xor_sync(0xffffffffu, best, distance);
            const int other = __shfl_xor_sync(0xffffffffu, where, distance);
            // The last NaN; else the largest, of equals the first.
            const bool later = other > where, is_nan = fc_is_nan(value);
            const bool larger = is_nan ? later || !fc_is_nan(best)
                                       : !fc_is_nan(best) && (fc_is_taken(value, best) ||
                                                              (!fc_is_taken(best, value) && !later));
            if (other >= 0 && (where < 0 || larger)) best = value, where = other;
        }
    }
#else
    sum_t sum = 0;
    total_t total = 0;
    int count = 0;
    __device__ __forceinline__ void add(sum_t value, int) {
        sum = fc_add(sum, value);
        if (T0 * T1 * T2 > 32 && ++count % 32 == 0) total += sum, sum = 0;
    }
    __device__ __forceinline__ void add_lanes() {
        total += sum, sum = 0;
#pragma unroll
        for (int distance = 16; distance; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
    }
#endif
};

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_gather(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
                const __grid_constant__ fc_pool p) {
    const fc_u32 index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    if (index >= p.count) return;
    const fc_unit u(index, p);
    const fc_window<0> d(p.axis[0], u.d);
    const fc_window<1> h(p.axis[1], u.h);
    const fc_window<2> w(p.axis[2], u.w);
    const value_t *plane = source + u.plane(p.source_at, p.source_stride);
    fc_found found;
#pragma unroll 4
    for (int tap = lane; tap < T0 * T1 * T2; tap += LANES) {
        const int x = tap % T2, y = tap / T2 % T1, z = tap / (T1 * T2); // divisions by constants
        const int i = d.first + z * D0, j = h.first + y * D1, k = w.first + x * D2;
        if (i < 0 || i >= d.end || j < 0 || j >= h.end || k < 0 || k >= w.end) continue;
        sum_t value[1];
        fc_get<1>(plane + fc_in_plane(p.source_stride, i, j, k), value);
        found.add(value[0], (i * p.axis[1].size + j) * p.axis[2].size + k);
    }
#if LANES == 32
    found.add_lanes();
    if (lane) return;
#endif
#if MAXIMUM
    const sum_t value[1] = {found.best};
    if (places)
        places[u.plane(p.index_at, p.index_stride) + fc_in_plane(p.index_stride, u.d, u.h, u.w)] = found.where;
#else
    const sum_t value[1] = {fc_mean(found.total + found.sum, fc_divisor(p, d, h, w))};
#endif
    fc_put<1>(result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w)), value);
}
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
// The first and the last window of an axis that may own an element.
template <int AXIS> struct fc_owners {
    typedef fc_shape<AXIS> shape;
    int first, last;
    __device__ __forceinline__ fc_owners(const fc_pool_axis &a, int element) {
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

extern "C" __global__ void __launch_bounds__(THREADS, 8)
    pool_gradient(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                  value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    const fc_unit u(index, p);
    const fc_owners<0> d(p.axis[0], u.d);
    const fc_owners<1> h(p.axis[1], u.h);
    const fc_owners<2> w(p.axis[2], u.w);
    gradient += u.plane(p.result_at, p.result_stride);
    sum_t sum[1] = {0};
#if MAXIMUM_GRADIENT
    places += u.plane(p.index_at, p.index_stride);
    const int own = (u.d * p.axis[1].size + u.h) * p.axis[2].size + u.w;
#endif
    for (int i = d.first; i <= d.last; i++) {
        if (!fc_owners<0>::owns(i, u.d)) continue;
        for (int j = h.first; j <= h.last; j++) {
            if (!fc_owners<1>::owns(j, u.h)) continue;
#pragma unroll 1
            for (int k = w.first; k <= w.last; k++) {
                if (!fc_owners<2>::owns(k, u.w)) continue;
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

#if STRAYS
// Computes those planes anew that are named by a place outside of its own window, each element from all outputs of its
// plane in their order; places outside of the plane count nowhere. A block has RUN planes, channels of one image.
struct fc_plane {
    const fc_pool &p;
    const long long *places;
    // The place that an output names, and its own place in the result.
    __device__ __forceinline__ int named(int output, int &d, int &h, int &w) const {
        const int row = fc_quotient(output, p.axis[2].by_outputs);
        d = fc_quotient(row, p.axis[1].by_outputs);
        h = row - d * p.axis[1].outputs, w = output - row * p.axis[2].outputs;
        int place[1];
        fc_get_places<1>(places + fc_in_plane(p.index_stride, d, h, w), place);
        return place[0];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_strays(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const int n = fc_quotient(blockIdx.x, p.sizes[0]), run = (blockIdx.x - n * p.sizes[0].d) * RUN;
    const int outputs = p.axis[0].outputs * p.axis[1].outputs * p.axis[2].outputs;
    const int size = p.axis[0].size * p.axis[1].size * p.axis[2].size;
    const int channel = run + threadIdx.x % RUN;
    const fc_plane own = {p, places + (p.index_at + n * p.index_stride[0] + channel * p.index_stride[1])};
    bool strays = false;
    int d, h, w;
    if (channel < p.sizes[1].d)
        for (int output = threadIdx.x / RUN; output < outputs; output += THREADS / RUN) {
            const int place = own.named(output, d, h, w);
            const int row = fc_quotient(max(place, 0), p.axis[2].by_size), i = fc_quotient(row, p.axis[1].by_size);
            strays |= place >= 0 && place < size &&
                      !(fc_window<0>(p.axis[0], d).has(i) && fc_window<1>(p.axis[1], h).has(row - i * p.axis[1].size) &&
                        fc_window<2>(p.axis[2], w).has(place - row * p.axis[2].size));
        }
    for (int c = 0; c < RUN; c++) {
        if (!__syncthreads_or(strays && threadIdx.x % RUN == c)) continue; // the same for all
        const fc_plane plane = {p, places + (p.index_at + n * p.index_stride[0] + (run + c) * p.index_stride[1])};
        const value_t *from = gradient + (p.result_at + n * p.result_stride[0] + (run + c) * p.result_stride[1]);
        for (int element = threadIdx.x; element < size; element += THREADS) {
            sum_t sum[1] = {0}, share[1];
            for (int output = 0; output < outputs; output++)
                if (plane.named(output, d, h, w) == element) {
                    fc_get<1>(from + fc_in_plane(p.result_stride, d, h, w), share);
                    sum[0] = fc_add(sum[0], share[0]);
                }
            const int row = fc_quotient(element, p.axis[2].by_size), i = fc_quotient(row, p.axis[1].by_size);
            fc_put<1>(source + (p.source_at + n * p.source_stride[0] + (run + c) * p.source_stride[1] +
                                fc_in_plane(p.source_stride, i, row - i * p.axis[1].size, element - row * p.axis[2].size)),
                      sum);
        }
    }
}
#endif
