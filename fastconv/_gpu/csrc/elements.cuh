// Element types: what lies in memory, what it is computed in, and the way from one to the other.
//
// Real numbers are computed in double, complex ones in pairs of it, integers modulo 2^64, so that sums of any order are
// exact where the result is. 16-bit floats are rounded by way of float, to nearest even.
typedef signed char fc_i8;
typedef long long fc_i64;
struct fc_half {
    fc_u16 bits;
};
struct fc_bfloat16 {
    fc_u16 bits;
};
template <typename T> struct fc_complex {
    T re, im;
};

template <typename T> struct fc_wide_of {
    typedef long long type;
};
template <> struct fc_wide_of<float> {
    typedef double type;
};
template <> struct fc_wide_of<double> {
    typedef double type;
};
template <> struct fc_wide_of<fc_half> {
    typedef double type;
};
template <> struct fc_wide_of<fc_bfloat16> {
    typedef double type;
};
template <typename T> struct fc_wide_of<fc_complex<T>> {
    typedef fc_complex<double> type;
};
template <typename T> using fc_wide = typename fc_wide_of<T>::type;

template <typename T> static __device__ __forceinline__ fc_wide<T> fc_widen(T x) { return (fc_wide<T>)x; }
static __device__ __forceinline__ double fc_widen(fc_half x) { return (double)fc_half_to_float(x.bits); }
static __device__ __forceinline__ double fc_widen(fc_bfloat16 x) {
    return (double)__uint_as_float((fc_u32)x.bits << 16);
}
template <typename T> static __device__ __forceinline__ fc_complex<double> fc_widen(fc_complex<T> x) {
    return {(double)x.re, (double)x.im};
}

template <typename T> static __device__ __forceinline__ void fc_narrow(fc_wide<T> x, T &y) { y = (T)x; }
static __device__ __forceinline__ void fc_narrow(double x, fc_half &y) { y.bits = fc_float_to_half((float)x); }
static __device__ __forceinline__ void fc_narrow(double x, fc_bfloat16 &y) {
    const fc_u32 bits = __float_as_uint((float)x);
    y.bits = (fc_u16)(x != x ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <typename T> static __device__ __forceinline__ void fc_narrow(fc_complex<double> x, fc_complex<T> &y) {
    y = {(T)x.re, (T)x.im};
}

template <typename T> static __device__ __forceinline__ void fc_add_product(T &sum, T a, T b) { sum += a * b; }
// By the plain formula, as in NumPy: no recovery of infinities.
static __device__ __forceinline__ void fc_add_product(fc_complex<double> &sum, fc_complex<double> a,
                                                      fc_complex<double> b) {
    sum.re += a.re * b.re - a.im * b.im;
    sum.im += a.re * b.im + a.im * b.re;
}
template <typename T> static __device__ __forceinline__ void fc_add(T &sum, T x) { sum += x; }
static __device__ __forceinline__ void fc_add(fc_complex<double> &sum, fc_complex<double> x) {
    sum.re += x.re;
    sum.im += x.im;
}
template <typename T> static __device__ __forceinline__ T fc_conjugate(T x) { return x; }
static __device__ __forceinline__ fc_complex<double> fc_conjugate(fc_complex<double> x) { return {x.re, -x.im}; }

// One thread per element, and more elements where a grid cannot have so many threads.
#define FC_EACH(i, count)                                                                                              \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count);                                  \
         i += gridDim.x * (long long)blockDim.x)

// The five indices of an element of an array in C order.
static __device__ __forceinline__ void fc_split(long long i, const long long (&size)[5], long long (&at)[5]) {
#pragma unroll
    for (int axis = 4; axis > 0; axis--) {
        at[axis] = i % size[axis];
        i /= size[axis];
    }
    at[0] = i;
}
static __device__ __forceinline__ long long fc_dot(const long long (&at)[5], const long long (&stride)[5]) {
    return at[0] * stride[0] + at[1] * stride[1] + at[2] * stride[2] + at[3] * stride[3] + at[4] * stride[4];
}
