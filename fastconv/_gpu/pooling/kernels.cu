// Maxima and averages of windows, one thread per output, and their gradients.
//
// Output o of an axis owns the source elements o*step - before + t*dilation, t < taps, that exist; of an adaptive axis
// those from o*size / outputs up to the next multiple of it, rounded up.
// Numerics: averages are summed in double, integers modulo 2^64; each result is rounded once. The last NaN of a window
// is its maximum, else the first of its largest elements.
// ELEMENT: the arrays' type; SHARE: that of an output's gradient; LOWEST: the maximum of no elements.
struct pool_axis {
    long long size, outputs, taps, step, before, after, dilation, adaptive;
};
struct pool_problem {
    long long source_stride[5], result_stride[5], index_stride[5];
    long long batch, channels;
    pool_axis axis[3];
    long long divisor; // 0: the number of elements
    long long count_padding;
};

struct pool_window {
    long long begin, taps; // the part inside of the source
    long long extent;      // taps inside of the source and its padding
};

static __device__ pool_window window_of(const pool_axis &axis, long long output) {
    pool_window window;
    if (axis.adaptive) {
        window.begin = output * axis.size / axis.outputs;
        window.taps = window.extent = ((output + 1) * axis.size + axis.outputs - 1) / axis.outputs - window.begin;
        return window;
    }
    const long long first = output * axis.step - axis.before, reach = (axis.taps - 1) * axis.dilation;
    window.extent = axis.taps;
    if (first + reach >= axis.size + axis.after)
        window.extent = max((axis.size + axis.after - 1 - first) / axis.dilation + 1, 0LL);
    const long long skipped = first < 0 ? (-first + axis.dilation - 1) / axis.dilation : 0;
    window.begin = first + skipped * axis.dilation;
    const long long inside = window.begin < axis.size ? (axis.size - 1 - window.begin) / axis.dilation + 1 : 0;
    window.taps = max(min(axis.taps - skipped, inside), 0LL);
    return window;
}

static __device__ long long divisor_of(const pool_problem &c, const pool_window (&window)[3]) {
    if (c.divisor) return c.divisor;
    const long long count = c.count_padding ? window[0].extent * window[1].extent * window[2].extent
                                            : window[0].taps * window[1].taps * window[2].taps;
    return count ? count : 1;
}

#define FOR_EACH_TAP                                                                                                   \
    for (long long d = 0; d < window[0].taps; d++)                                                                     \
        for (long long h = 0; h < window[1].taps; h++)                                                                 \
            for (long long w = 0; w < window[2].taps; w++)
#define SOURCE_AT                                                                                                      \
    {at[0], at[1], window[0].begin + d * c.axis[0].dilation, window[1].begin + h * c.axis[1].dilation,                 \
     window[2].begin + w * c.axis[2].dilation}
#define EACH_OUTPUT                                                                                                    \
    const long long size[5] = {c.batch, c.channels, c.axis[0].outputs, c.axis[1].outputs, c.axis[2].outputs};          \
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4])
#define WINDOWS                                                                                                        \
    long long at[5];                                                                                                   \
    fc_split(i, size, at);                                                                                             \
    const pool_window window[3] = {window_of(c.axis[0], at[2]), window_of(c.axis[1], at[3]),                           \
                                   window_of(c.axis[2], at[4])}

#ifdef LOWEST
template <typename T> static __device__ __forceinline__ bool is_taken(T value, T best) {
    return value > best || value != value;
}
static __device__ __forceinline__ bool is_taken(fc_half value, fc_half best) {
    return is_taken(fc_widen(value), fc_widen(best));
}
static __device__ __forceinline__ bool is_taken(fc_bfloat16 value, fc_bfloat16 best) {
    return is_taken(fc_widen(value), fc_widen(best));
}

// `index`, if it is given, gets the place of each maximum in its plane; -1: of no element.
extern "C" __global__ void pool_maximum(const ELEMENT *source, ELEMENT *result, long long *index,
                                        const __grid_constant__ pool_problem c) {
    EACH_OUTPUT {
        WINDOWS;
        ELEMENT best;
        fc_narrow(LOWEST, best);
        long long where = -1;
        FOR_EACH_TAP {
            const long long from[5] = SOURCE_AT;
            const ELEMENT value = source[fc_dot(from, c.source_stride)];
            if (where < 0 || is_taken(value, best)) {
                best = value;
                where = (from[2] * c.axis[1].size + from[3]) * c.axis[2].size + from[4];
            }
        }
        result[fc_dot(at, c.result_stride)] = best;
        if (index) index[fc_dot(at, c.index_stride)] = where;
    }
}
#endif

#ifdef SHARE
static __device__ __forceinline__ double quotient(double sum, long long divisor) { return sum / (double)divisor; }
static __device__ __forceinline__ fc_complex<double> quotient(fc_complex<double> sum, long long divisor) {
    return {sum.re / (double)divisor, sum.im / (double)divisor};
}
// The lowest integer over -1 does not fit its type; it wraps, as the sums do.
static __device__ __forceinline__ long long quotient(long long sum, long long divisor) {
    return divisor == -1 ? (long long)(0 - (unsigned long long)sum) : sum / divisor;
}

extern "C" __global__ void pool_average(const ELEMENT *source, ELEMENT *result,
                                        const __grid_constant__ pool_problem c) {
    EACH_OUTPUT {
        WINDOWS;
        fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
        FOR_EACH_TAP {
            const long long from[5] = SOURCE_AT;
            fc_add(sum, fc_widen(source[fc_dot(from, c.source_stride)]));
        }
        fc_narrow(quotient(sum, divisor_of(c, window)), result[fc_dot(at, c.result_stride)]);
    }
}

// The outputs whose windows have element i of an axis: from `first` on, `step` apart, up to `last`, those `owns` says.
static __device__ void outputs_of(const pool_axis &axis, long long i, long long &first, long long &last) {
    if (axis.adaptive) {
        first = i * axis.outputs / axis.size;
        last = ((i + 1) * axis.outputs - 1) / axis.size;
        return;
    }
    const long long reach = (axis.taps - 1) * axis.dilation, there = i + axis.before;
    first = there > reach ? (there - reach + axis.step - 1) / axis.step : 0;
    last = min(there / axis.step, axis.outputs - 1);
}
static __device__ __forceinline__ bool owns(const pool_axis &axis, long long output, long long i) {
    return axis.adaptive || (i + axis.before - output * axis.step) % axis.dilation == 0;
}

// Each element of the source is the sum of the shares that the windows around it have of their outputs' gradients.
extern "C" __global__ void pool_average_gradient(ELEMENT *source, const SHARE *result,
                                                 const __grid_constant__ pool_problem c) {
    const long long size[5] = {c.batch, c.channels, c.axis[0].size, c.axis[1].size, c.axis[2].size};
    FC_EACH(i, size[0] * size[1] * size[2] * size[3] * size[4]) {
        long long at[5], first[3], last[3];
        fc_split(i, size, at);
        for (int axis = 0; axis < 3; axis++) outputs_of(c.axis[axis], at[2 + axis], first[axis], last[axis]);
        fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
        for (long long d = first[0]; d <= last[0]; d++)
            for (long long h = first[1]; h <= last[1]; h++)
                for (long long w = first[2]; w <= last[2]; w++) {
                    if (!owns(c.axis[0], d, at[2]) || !owns(c.axis[1], h, at[3]) || !owns(c.axis[2], w, at[4]))
                        continue;
                    const pool_window window[3] = {window_of(c.axis[0], d), window_of(c.axis[1], h),
                                                   window_of(c.axis[2], w)};
                    const long long from[5] = {at[0], at[1], d, h, w};
                    fc_add(sum, quotient(fc_widen(result[fc_dot(from, c.result_stride)]), divisor_of(c, window)));
                }
        fc_narrow(sum, source[fc_dot(at, c.source_stride)]);
    }
}

// One thread per plane, so that any indices, several outputs' same one too, are added in the order of the outputs.
// `source` is zeros; indices outside of the plane count for nothing.
extern "C" __global__ void pool_maximum_gradient(ELEMENT *source, const SHARE *result, const long long *index,
                                                 const __grid_constant__ pool_problem c) {
    const long long plane = c.axis[0].size * c.axis[1].size * c.axis[2].size;
    FC_EACH(i, c.batch * c.channels) {
        long long at[5] = {i / c.channels, i % c.channels};
        for (at[2] = 0; at[2] < c.axis[0].outputs; at[2]++)
            for (at[3] = 0; at[3] < c.axis[1].outputs; at[3]++)
                for (at[4] = 0; at[4] < c.axis[2].outputs; at[4]++) {
                    const long long where = index[fc_dot(at, c.index_stride)];
                    if (where < 0 || where >= plane) continue;
                    const long long to[5] = {at[0], at[1], where / (c.axis[1].size * c.axis[2].size),
                                             where / c.axis[2].size % c.axis[1].size, where % c.axis[2].size};
                    ELEMENT &place = source[fc_dot(to, c.source_stride)];
                    fc_wide<ELEMENT> sum = fc_widen(place);
                    fc_add(sum, fc_widen(result[fc_dot(at, c.result_stride)]));
                    fc_narrow(sum, place);
                }
    }
}
#endif
