// The definition, one thread per element of the result: any problem, any strides, any of the element types.
//
// Formula. The problem's *forward* correlation in all three directions, with 64-bit indices throughout:
//     result[n, f, p] = sum over c, t of  source[n, c, p*step + first + t*delta] * weight[f, c, t]
// Forward computes `result`, backward_input `source`, backward_weight `weight`. Source elements outside of
// [0, source_size) are zeros that are multiplied like others: 0 * inf is NaN. Sums run in the order of the loops.
// Numerics: see elements.cuh; the epilogue is applied before the one rounding.
// SOURCE, WEIGHT, RESULT: the arrays' element types. `marks`: see is_marked.
struct reference_problem {
    long long source_stride[5], weight_stride[5], result_stride[5], add_stride[5]; // n, channel, d, h, w; weight: f, c
    long long batch, groups, channels, filters;                                    // of a group
    long long source_size[3], pixels[3], taps[3], step[3], first[3], delta[3];
    long long source_zero; // subtracted from elements of the source, not from padding
    double slope;          // of leaky_relu
    int conjugated;        // 1: source, 2: weight, 3: result
    int reserved;
};
enum { CONJUGATES_SOURCE = 1, CONJUGATES_WEIGHT = 2, CONJUGATES_RESULT = 3 };

typedef fc_wide<SOURCE> SUM;

// The source's element that a tap of a pixel reads; 0 where that lies in the padding.
static __device__ __forceinline__ SUM source_at(const SOURCE *source, const reference_problem &c, long long n,
                                                long long channel, const long long *pixel, const long long *tap) {
    long long at[5] = {n, channel};
    bool inside = true;
    for (int axis = 0; axis < 3; axis++) {
        at[2 + axis] = pixel[axis] * c.step[axis] + c.first[axis] + tap[axis] * c.delta[axis];
        inside &= at[2 + axis] >= 0 && at[2 + axis] < c.source_size[axis];
    }
    SUM x = SUM();
    if (inside) {
        x = fc_widen(source[fc_dot(at, c.source_stride)]);
#ifdef HAS_ZERO_POINTS
        x -= c.source_zero;
#endif
    }
    return c.conjugated == CONJUGATES_SOURCE ? fc_conjugate(x) : x;
}

static __device__ __forceinline__ SUM weight_at(const WEIGHT *weight, const short *weight_zero,
                                                const reference_problem &c, long long k, long long channel,
                                                const long long *tap) {
    const long long at[5] = {k, channel, tap[0], tap[1], tap[2]};
    SUM w = fc_widen(weight[fc_dot(at, c.weight_stride)]);
#ifdef HAS_ZERO_POINTS
    if (weight_zero) w -= weight_zero[k];
#endif
    return c.conjugated == CONJUGATES_WEIGHT ? fc_conjugate(w) : w;
}

static __device__ __forceinline__ SUM result_at(const RESULT *result, const reference_problem &c, long long n,
                                                long long k, const long long *pixel) {
    const long long at[5] = {n, k, pixel[0], pixel[1], pixel[2]};
    const SUM y = fc_widen(result[fc_dot(at, c.result_stride)]);
    return c.conjugated == CONJUGATES_RESULT ? fc_conjugate(y) : y;
}

#define FOR_EACH3(i, size)                                                                                             \
    for (i[0] = 0; i[0] < size[0]; i[0]++)                                                                             \
        for (i[1] = 0; i[1] < size[1]; i[1]++)                                                                         \
            for (i[2] = 0; i[2] < size[2]; i[2]++)

template <typename T> static __device__ __forceinline__ T activated(T z, double slope) { return z; }
static __device__ __forceinline__ double activated(double z, double slope) { return fc_activate(z, slope); }

// The epilogue, and the element stored.
template <typename T>
static __device__ __forceinline__ void finish(SUM sum, const long long (&at)[5], const long long (&stride)[5],
                                              T *computed, const T *bias, const T *add, const reference_problem &c) {
    if (bias) fc_add(sum, fc_widen(bias[at[1]]));
    if (add) fc_add(sum, fc_widen(add[fc_dot(at, c.add_stride)]));
    fc_narrow(activated(sum, c.slope), computed[fc_dot(at, stride)]);
}

// Whether anything is to be computed: always where there are no marks, else where one of them is set.
static __device__ __forceinline__ bool is_marked(const fc_u8 *marks, long long count) {
    bool found = false;
    for (long long i = threadIdx.x; marks && i < count; i += blockDim.x) found |= marks[i] != 0;
    return !marks || __syncthreads_or(found);
}

extern "C" __global__ void reference_forward(const SOURCE *source, const WEIGHT *weight, RESULT *result,
                                             const RESULT *bias, const RESULT *add,
                                             const __grid_constant__ reference_problem c, const short *weight_zero,
                                             const fc_u8 *marks, long long mark_count) {
    if (!is_marked(marks, mark_count)) return;
    const long long size[5] = {c.batch, c.groups * c.filters, c.pixels[0], c.pixels[1], c.pixels[2]};
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4]) {
        long long at[5], tap[3];
        fc_split(i, size, at);
        const long long k = at[1], group = k / c.filters;
        SUM sum = SUM();
        for (long long channel = 0; channel < c.channels; channel++) {
            FOR_EACH3(tap, c.taps) {
                fc_add_product(sum, source_at(source, c, at[0], group * c.channels + channel, at + 2, tap),
                               weight_at(weight, weight_zero, c, k, channel, tap));
            }
        }
        finish(sum, at, c.result_stride, result, bias, add, c);
    }
}

// The pixel whose tap reads a source element; false where there is none.
static __device__ __forceinline__ bool pixel_of(const reference_problem &c, const long long *index,
                                                const long long *tap, long long *pixel) {
    for (int axis = 0; axis < 3; axis++) {
        const long long offset = index[axis] - c.first[axis] - tap[axis] * c.delta[axis];
        if (offset < 0 || offset % c.step[axis]) return false;
        pixel[axis] = offset / c.step[axis];
        if (pixel[axis] >= c.pixels[axis]) return false;
    }
    return true;
}

extern "C" __global__ void reference_backward_input(SOURCE *source, const WEIGHT *weight, const RESULT *result,
                                                    const SOURCE *bias, const SOURCE *add,
                                                    const __grid_constant__ reference_problem c,
                                                    const short *weight_zero, const fc_u8 *marks,
                                                    long long mark_count) {
    if (!is_marked(marks, mark_count)) return;
    const long long size[5] = {c.batch, c.groups * c.channels, c.source_size[0], c.source_size[1], c.source_size[2]};
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4]) {
        long long at[5], tap[3], pixel[3];
        fc_split(i, size, at);
        const long long group = at[1] / c.channels, channel = at[1] % c.channels;
        SUM sum = SUM();
        for (long long k = group * c.filters; k < (group + 1) * c.filters; k++) {
            FOR_EACH3(tap, c.taps) {
                if (pixel_of(c, at + 2, tap, pixel))
                    fc_add_product(sum, result_at(result, c, at[0], k, pixel),
                                   weight_at(weight, weight_zero, c, k, channel, tap));
            }
        }
        finish(sum, at, c.source_stride, source, bias, add, c);
    }
}

extern "C" __global__ void reference_backward_weight(const SOURCE *source, WEIGHT *weight, const RESULT *result,
                                                     const WEIGHT *bias, const WEIGHT *add,
                                                     const __grid_constant__ reference_problem c,
                                                     const short *weight_zero, const fc_u8 *marks,
                                                     long long mark_count) {
    if (!is_marked(marks, mark_count)) return;
    const long long size[5] = {c.groups * c.filters, c.channels, c.taps[0], c.taps[1], c.taps[2]};
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4]) {
        long long at[5], pixel[3];
        fc_split(i, size, at);
        const long long k = at[0], channel = k / c.filters * c.channels + at[1];
        SUM sum = SUM();
        for (long long n = 0; n < c.batch; n++) {
            FOR_EACH3(pixel, c.pixels) {
                fc_add_product(sum, source_at(source, c, n, channel, pixel, at + 2), result_at(result, c, n, k, pixel));
            }
        }
        fc_narrow(sum, weight[fc_dot(at, c.weight_stride)]);
    }
}
