// What depthwise kernels of all layouts have in common. See correlation.cuh and vectors.cuh.
//
// Subnormal numbers stay, whatever the compiler's option -ftz says; what activations do with them is not promised.
#define SIZE ((fc_index)sizeof(fc_element))

// The address `i` times `pitch` bytes from another one.
template <typename T> static __device__ __forceinline__ T *fc_step(T *from, fc_index pitch, int i) {
    return (T *)((const char *)from + (long long)i * pitch);
}

// The place of an element of an array whose first one lies at `at`.
static __device__ __forceinline__ long long fc_place(long long at, const long long (&stride)[5], int n, int channel,
                                                     int depth, int row, int column) {
    return at + n * stride[0] + channel * stride[1] +
           ((fc_index)depth * (fc_index)stride[2] + (fc_index)row * (fc_index)stride[3] +
            (fc_index)column * (fc_index)stride[4]);
}
// That of an element of the source; it may lie outside.
static __device__ __forceinline__ const fc_element *fc_source(const fc_element *source, const fc_correlation &c, int n,
                                                              int channel, int depth, int row, int column) {
    return source + fc_place(c.source_at, c.source_stride, n, channel, depth, row, column);
}

// One axis of taps in the order that fc_exact visits them.
struct fc_taps {
    int at, delta, size, tap, tap_step, taps;
};

// The sum of the products that exist: what is outside of the source is not multiplied. For weights that are not
// finite, in input gradients.
static __device__ __forceinline__ fc_sum fc_exact(const fc_element *source, const fc_element *weight,
                                                  const fc_correlation &c, fc_taps d, fc_taps h, fc_taps w) {
    fc_sum sum = 0;
#pragma unroll 1
    for (; d.tap < d.taps; d.tap += d.tap_step, d.at += d.delta)
#pragma unroll 1
        for (fc_taps y = h; y.tap < y.taps; y.tap += y.tap_step, y.at += y.delta)
#pragma unroll 1
            for (fc_taps x = w; x.tap < x.taps; x.tap += x.tap_step, x.at += x.delta) {
                if ((fc_u32)d.at >= (fc_u32)d.size || (fc_u32)y.at >= (fc_u32)y.size || (fc_u32)x.at >= (fc_u32)x.size)
                    continue;
                const fc_sum a =
                    fc_widen(source[d.at * c.source_stride[2] + y.at * c.source_stride[3] + x.at * c.source_stride[4]]);
                const fc_sum b = fc_widen(
                    weight[d.tap * c.weight_stride[2] + y.tap * c.weight_stride[3] + x.tap * c.weight_stride[4]]);
                sum = fc_fma(a, b, sum);
            }
    return sum;
}

// By its bits, since arithmetic would take subnormal numbers for zeros.
static __device__ __forceinline__ bool fc_is_finite(float x) {
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}
static __device__ __forceinline__ bool fc_is_finite(double x) {
    return (__double2hiint(x) & 0x7ff00000) != 0x7ff00000;
}

// The sum of `value` over the warp, in a fixed order, in every lane.
static __device__ __forceinline__ fc_sum fc_warp_sum(fc_sum value) {
#pragma unroll
    for (int distance = 16; distance; distance /= 2)
        value = fc_plus(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}
