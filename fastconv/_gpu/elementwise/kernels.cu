// What is not a convolution: padding by an array's own elements and its adjoint, an activation's slope, sums by
// channel.
//
// Arrays are (N, C, D, H, W) with strides in elements. ELEMENT: their type; RESULT: the result's, if it is another one.
// Numerics: sums run in double and in a fixed order (elements.cuh); each element is rounded once.
#ifndef RESULT
#define RESULT ELEMENT
#endif

struct elementwise_arrays {
    long long size[5]; // of the array that a thread has an element of
    long long source_stride[5], result_stride[5];
    double slope; // of leaky_relu
};

// result[n, c, i] = source[n, c, index[i]]: `d`, `h` and `w` hold the index of each axis.
extern "C" __global__ void pad(const ELEMENT *source, ELEMENT *result, const long long *d, const long long *h,
                               const long long *w, const __grid_constant__ elementwise_arrays c) {
    FC_EACH(i, c.size[0] * c.size[1] * c.size[2] * c.size[3] * c.size[4]) {
        long long at[5];
        fc_split(i, c.size, at);
        const long long from[5] = {at[0], at[1], d[at[2]], h[at[3]], w[at[4]]};
        result[fc_dot(at, c.result_stride)] = source[fc_dot(from, c.source_stride)];
    }
}

// The adjoint of `pad`: each element is the sum of those that repeat it. Of the element i of an axis these are the
// places[j] for begin[i] <= j < begin[i + 1].
extern "C" __global__ void fold_padding(const ELEMENT *source, RESULT *result, const long long *begin_d,
                                        const long long *begin_h, const long long *begin_w, const long long *places_d,
                                        const long long *places_h, const long long *places_w,
                                        const __grid_constant__ elementwise_arrays c) {
    FC_EACH(i, c.size[0] * c.size[1] * c.size[2] * c.size[3] * c.size[4]) {
        long long at[5];
        fc_split(i, c.size, at);
        fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
        for (long long d = begin_d[at[2]]; d < begin_d[at[2] + 1]; d++)
            for (long long h = begin_h[at[3]]; h < begin_h[at[3] + 1]; h++)
                for (long long w = begin_w[at[4]]; w < begin_w[at[4] + 1]; w++) {
                    const long long from[5] = {at[0], at[1], places_d[d], places_h[h], places_w[w]};
                    fc_add(sum, fc_widen(source[fc_dot(from, c.source_stride)]));
                }
        fc_narrow(sum, result[fc_dot(at, c.result_stride)]);
    }
}

// result = (p[0] + f[0] p[1]) + i (f[1] p[2] + f[2] p[3]) + bias + add, the real arrays p dense and `apart` elements from
// each other, f the factors, each 1 or -1: what four products of parts are put together to. `source_stride` is add's.
#if defined(PART)
extern "C" __global__ void put_together(const PART *p, long long apart, ELEMENT *result, const ELEMENT *bias,
                                        const ELEMENT *add, int f0, int f1, int f2,
                                        const __grid_constant__ elementwise_arrays c) {
    FC_EACH(i, c.size[0] * c.size[1] * c.size[2] * c.size[3] * c.size[4]) {
        long long at[5];
        fc_split(i, c.size, at);
        fc_wide<ELEMENT> z = {p[i] + (double)f0 * p[i + apart],
                              (double)f1 * p[i + 2 * apart] + (double)f2 * p[i + 3 * apart]};
        if (bias) fc_add(z, fc_widen(bias[at[1]]));
        if (add) fc_add(z, fc_widen(add[fc_dot(at, c.source_stride)]));
        fc_narrow(z, result[fc_dot(at, c.result_stride)]);
    }
}
#endif

extern "C" __global__ void cast(const ELEMENT *source, RESULT *result, const __grid_constant__ elementwise_arrays c) {
    FC_EACH(i, c.size[0] * c.size[1] * c.size[2] * c.size[3] * c.size[4]) {
        long long at[5];
        fc_split(i, c.size, at);
        fc_narrow(fc_widen(source[fc_dot(at, c.source_stride)]), result[fc_dot(at, c.result_stride)]);
    }
}

// dy times the derivative of the activation at z. The kinks of relu and relu6 belong to the flat sides, and no dy at
// all, even infinite, passes there.
static __device__ __forceinline__ double slope_times(double dy, double z, double slope) {
#if ACTIVATION == 1
    return z <= 0 ? 0 : dy;
#elif ACTIVATION == 2
    return z <= 0 || z >= 6 ? 0 : dy;
#elif ACTIVATION == 3
    return z > 0 ? dy : dy * slope;
#elif ACTIVATION == 4
    const double gate = 1 / (1 + exp(-z));
    return dy * (gate * (1 + z * (1 - gate)));
#elif ACTIVATION == 5
    const double density = exp(-z * z / 2) * 0.39894228040143267794;
    return dy * (0.5 * (1 + erf(z * 0.70710678118654752440)) + z * density);
#elif ACTIVATION == 6
    const double y = tanh(z);
    return dy * (1 - y * y);
#elif ACTIVATION == 7
    const double gate = 1 / (1 + exp(-z));
    return dy * (gate * (1 - gate));
#else
    return dy;
#endif
}
#ifdef IS_REAL
// In the place of z, the result.
extern "C" __global__ void activation_gradient(const ELEMENT *dy, ELEMENT *z,
                                               const __grid_constant__ elementwise_arrays c) {
    FC_EACH(i, c.size[0] * c.size[1] * c.size[2] * c.size[3] * c.size[4]) {
        long long at[5];
        fc_split(i, c.size, at);
        ELEMENT *place = z + fc_dot(at, c.result_stride);
        fc_narrow(slope_times(fc_widen(dy[fc_dot(at, c.source_stride)]), fc_widen(*place), c.slope), *place);
    }
}
#endif

#define THREADS 256
// sums[c] over all other axes, by a block for each channel: every thread sums elements of its own, then by halves.
extern "C" __global__ void channel_sums(const ELEMENT *source, ELEMENT *sums,
                                        const __grid_constant__ elementwise_arrays c) {
    __shared__ fc_wide<ELEMENT> parts[THREADS];
    const long long count = c.size[0] * c.size[2] * c.size[3] * c.size[4];
    const long long size[5] = {c.size[0], 1, c.size[2], c.size[3], c.size[4]};
    for (long long channel = blockIdx.x; channel < c.size[1]; channel += gridDim.x) {
        fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
        for (long long i = threadIdx.x; i < count; i += THREADS) {
            long long at[5];
            fc_split(i, size, at);
            at[1] = channel;
            fc_add(sum, fc_widen(source[fc_dot(at, c.source_stride)]));
        }
        parts[threadIdx.x] = sum;
        for (int half = THREADS / 2; half; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) fc_add(parts[threadIdx.x], parts[threadIdx.x + half]);
        }
        if (!threadIdx.x) fc_narrow(parts[0], sums[channel]);
        __syncthreads();
    }
}
