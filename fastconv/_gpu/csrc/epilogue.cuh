// What is done to a result before it is stored: bias, add, activation, in this order and in ACCUMULATOR precision.
//
// ACTIVATION is that of `_problem.py`'s Epilogue in the order of the CPU's activation_t: none, relu, relu6, leaky_relu,
// silu, gelu, tanh, sigmoid. NaN stays NaN.
#ifndef ACTIVATION
#define ACTIVATION 0
#endif

template <typename T> static __device__ __forceinline__ T fc_activate(T z, T slope) {
#if ACTIVATION == 1
    return z < T(0) ? T(0) : z;
#elif ACTIVATION == 2
    return z < T(0) ? T(0) : z > T(6) ? T(6) : z;
#elif ACTIVATION == 3
    return z < T(0) ? z * slope : z;
#elif ACTIVATION == 4
    return z / (T(1) + exp(-z));
#elif ACTIVATION == 5
    return z * T(0.5) * (T(1) + erf(z * T(0.70710678118654752440)));
#elif ACTIVATION == 6
    return tanh(z);
#elif ACTIVATION == 7
    return T(1) / (T(1) + exp(-z));
#else
    return z;
#endif
}
