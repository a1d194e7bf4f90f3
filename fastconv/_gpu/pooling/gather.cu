// Pooling by any windows, and what is wrong with given places. See windows.cuh; small windows are in tiles.cu.
//
// One thread computes one element, or with LANES == 32 a warp does. Gradients gather, each element of the source from
// the windows that own it, in their order. Windows of more than 32 elements are averaged in groups of that many, whose
// sums are added in double.

#if MAXIMUM || AVERAGE
// Adds the next element's value, or what the others of the warp have found.
#if MAXIMUM
struct fc_found : fc_maximum {
    __device__ __forceinline__ void add_lanes() {
#pragma unroll
        for (int distance = 16; distance; distance /= 2) {
            fc_maximum other;
            other.best = __shfl_xor_sync(0xffffffffu, best, distance);
            other.where = __shfl_xor_sync(0xffffffffu, where, distance);
            merge(other);
        }
    }
};
#else
struct fc_found {
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
};
#endif

extern "C" __global__ void __launch_bounds__(THREADS)
    pool_gather(const value_t *__restrict__ source, value_t *__restrict__ result, long long *__restrict__ places,
                const __grid_constant__ fc_pool p) {
    const fc_u32 index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    const int lane = threadIdx.x % LANES;
    if (index >= p.count) return;
    const fc_unit u(index, p);
    fc_found found;
    fc_search<LANES>(source, u, p, lane, found);
#if LANES == 32
    found.add_lanes();
    if (lane) return;
#endif
#if MAXIMUM
    fc_put_maximum(result, places, u, p, found);
#else
    const fc_window<0> d(p.axis[0], u.d);
    const fc_window<1> h(p.axis[1], u.h);
    const fc_window<2> w(p.axis[2], u.w);
    const sum_t value[1] = {fc_mean(found.total + found.sum, fc_divisor(p, d, h, w))};
    fc_put<1>(result + (u.plane(p.result_at, p.result_stride) + fc_in_plane(p.result_stride, u.d, u.h, u.w)), value);
#endif
}
#endif

#if MAXIMUM_GRADIENT || AVERAGE_GRADIENT
extern "C" __global__ void __launch_bounds__(THREADS, 8)
    pool_gradient(const value_t *__restrict__ gradient, const long long *__restrict__ places,
                  value_t *__restrict__ source, const __grid_constant__ fc_pool p) {
    const fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= p.count) return;
    fc_put_gradient(gradient, places, source, fc_unit(index, p), p);
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
            fc_put<1>(source +
                          (p.source_at + n * p.source_stride[0] + (run + c) * p.source_stride[1] +
                           fc_in_plane(p.source_stride, i, row - i * p.axis[1].size, element - row * p.axis[2].size)),
                      sum);
        }
    }
}
#endif
