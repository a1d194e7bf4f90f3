// What arrays hold (fc_element), what is summed (fc_sum), and the conversions between them.
//
// ELEMENT is FLOAT32, FLOAT64, FLOAT16, BFLOAT16 or INT8, bytes with or without sign; those of 16 bits are summed in
// float, bytes in int modulo 2^32, and neither widened nor narrowed here. A vector is V elements that
// one instruction loads or stores; its address is a multiple of its size. WIDE makes offsets inside an image 64-bit.
#define FLOAT32 0
#define FLOAT64 1
#define FLOAT16 2
#define BFLOAT16 3
#define INT8 4
#ifndef ELEMENT
#define ELEMENT FLOAT32
#endif
#ifndef WIDE
#define WIDE 0
#endif

#if WIDE
typedef long long fc_index;
#else
typedef int fc_index;
#endif

#if ELEMENT == FLOAT64
typedef double fc_element, fc_sum;
#elif ELEMENT == FLOAT32
typedef float fc_element, fc_sum;
#elif ELEMENT == INT8
typedef fc_u8 fc_element;
typedef int fc_sum;
#else
typedef fc_u16 fc_element;
typedef float fc_sum;
#endif

static __device__ __forceinline__ fc_sum fc_widen(fc_element x) {
#if ELEMENT == FLOAT16
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x));
    return wide;
#elif ELEMENT == BFLOAT16
    return __uint_as_float((fc_u32)x << 16);
#else
    return x;
#endif
}

// Round to nearest even.
static __device__ __forceinline__ fc_element fc_narrow(fc_sum x) {
#if ELEMENT == FLOAT16
    fc_u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#elif ELEMENT == BFLOAT16 && __CUDA_ARCH__ >= 800
    fc_u16 half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#elif ELEMENT == BFLOAT16
    const fc_u32 bits = __float_as_uint(x);
    return (fc_u16)(x != x ? 0x7fffu : bits + 0x7fffu + (bits >> 16 & 1) >> 16);
#else
    return x;
#endif
}

// Two elements of 16 bits in a word, the first one in its low half.
static __device__ __forceinline__ void fc_widen2(fc_u32 word, fc_sum *to) {
#if ELEMENT == BFLOAT16
    to[0] = __uint_as_float(word << 16);
    to[1] = __uint_as_float(word & 0xffff0000u);
#elif ELEMENT == FLOAT16
    to[0] = fc_widen((fc_u16)word);
    to[1] = fc_widen((fc_u16)(word >> 16));
#endif
}
static __device__ __forceinline__ fc_u32 fc_narrow2(const fc_sum *from) {
    return (fc_u32)fc_narrow(from[0]) | (fc_u32)fc_narrow(from[1]) << 16;
}

#if ELEMENT == FLOAT64
typedef double2 fc_pair;
typedef double2 fc_four; // vectors of 4 are not made of it
#elif ELEMENT == FLOAT32
typedef float2 fc_pair;
typedef float4 fc_four;
#else
typedef fc_u32 fc_pair;
typedef uint2 fc_four;
#endif

// V elements as they lie in memory.
template <int V> struct fc_bits {
    fc_element x;
};
template <> struct fc_bits<2> {
    fc_pair x;
};
template <> struct fc_bits<4> {
    fc_four x;
};
template <> struct fc_bits<8> {
    uint4 x;
};

template <int V> static __device__ __forceinline__ void fc_widen_bits(const fc_bits<V> &bits, fc_sum (&to)[V]) {
    if constexpr (V == 1) {
        to[0] = fc_widen(bits.x);
    } else if constexpr (V == 2) {
#if ELEMENT == FLOAT32 || ELEMENT == FLOAT64
        to[0] = bits.x.x, to[1] = bits.x.y;
#else
        fc_widen2(bits.x, to);
#endif
    } else if constexpr (V == 8) {
        fc_widen2(bits.x.x, to), fc_widen2(bits.x.y, to + 2), fc_widen2(bits.x.z, to + 4), fc_widen2(bits.x.w, to + 6);
    } else {
#if ELEMENT == FLOAT32
        to[0] = bits.x.x, to[1] = bits.x.y, to[2] = bits.x.z, to[3] = bits.x.w;
#elif ELEMENT != FLOAT64
        fc_widen2(bits.x.x, to), fc_widen2(bits.x.y, to + 2);
#endif
    }
}

template <int V> static __device__ __forceinline__ void fc_load(const fc_element *from, fc_sum (&to)[V]) {
    static_assert(V * sizeof(fc_element) <= 16 && (V & (V - 1)) == 0, "vectors of up to 16 bytes");
    fc_bits<V> bits;
    bits.x = *reinterpret_cast<const decltype(bits.x) *>(from);
    fc_widen_bits<V>(bits, to);
}

// Zeros where it is not there. The conversions stand outside of the condition, so that the load alone depends on it: a
// branch around them would wait for each load before the next one.
template <int V>
static __device__ __forceinline__ void fc_load_if(bool there, const fc_element *from, fc_sum (&to)[V]) {
    static_assert(V * sizeof(fc_element) <= 16 && (V & (V - 1)) == 0, "vectors of up to 16 bytes");
    fc_bits<V> bits = {};
    if (there) bits.x = *reinterpret_cast<const decltype(bits.x) *>(from);
    fc_widen_bits<V>(bits, to);
}

// Vectors are stored by inline PTX, since the compiler takes them apart where stores of two branches meet.
#define FC_STORE(space, address, constraint)                                                                           \
    if constexpr (sizeof(fc_element) * V == 16 && ELEMENT == FLOAT64)                                                  \
        asm volatile("st." space ".v2.f64 [%0], {%1,%2};" ::constraint(address), "d"((double)from[0]),                 \
                     "d"((double)from[V - 1])                                                                          \
                     : "memory");                                                                                      \
    else if constexpr (V == 2 && ELEMENT == FLOAT32)                                                                   \
        asm volatile("st." space ".v2.f32 [%0], {%1,%2};" ::constraint(address), "f"((float)from[0]),                  \
                     "f"((float)from[V - 1])                                                                           \
                     : "memory");                                                                                      \
    else if constexpr (V == 4 && ELEMENT == FLOAT32)                                                                   \
        asm volatile("st." space ".v4.f32 [%0], {%1,%2,%3,%4};" ::constraint(address), "f"((float)from[0]),            \
                     "f"((float)from[V / 4]), "f"((float)from[V / 2]), "f"((float)from[V - 1])                         \
                     : "memory");                                                                                      \
    else if constexpr (V == 2)                                                                                         \
        asm volatile("st." space ".b32 [%0], %1;" ::constraint(address), "r"(fc_narrow2(from)) : "memory");            \
    else if constexpr (V == 8)                                                                                         \
        asm volatile("st." space ".v4.b32 [%0], {%1,%2,%3,%4};" ::constraint(address), "r"(fc_narrow2(from)),          \
                     "r"(fc_narrow2(from + V / 4)), "r"(fc_narrow2(from + V / 2)), "r"(fc_narrow2(from + V - V / 4))   \
                     : "memory");                                                                                      \
    else if constexpr (V == 4)                                                                                         \
    asm volatile("st." space ".v2.b32 [%0], {%1,%2};" ::constraint(address), "r"(fc_narrow2(from)),                    \
                 "r"(fc_narrow2(from + V / 2))                                                                         \
                 : "memory")

template <int V> static __device__ __forceinline__ void fc_store(fc_element *to, const fc_sum (&from)[V]) {
    static_assert(V * sizeof(fc_element) <= 16 && (V & (V - 1)) == 0, "vectors of up to 16 bytes");
    if constexpr (V == 1) *to = fc_narrow(from[0]);
    FC_STORE("global", to, "l");
}

template <int V> static __device__ __forceinline__ void fc_store_shared(fc_element *to, const fc_sum (&from)[V]) {
    if constexpr (V == 1) *to = fc_narrow(from[0]);
    FC_STORE("shared", fc_shared_address(to), "r");
}

// V elements from shared to global memory.
template <int V> static __device__ __forceinline__ void fc_copy_out(fc_element *to, const fc_element *from) {
    constexpr int BYTES = sizeof(fc_element) * V;
    const fc_u32 at = fc_shared_address(from);
    fc_u32 a, b, c, d;
    if constexpr (BYTES == 16) {
        asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(at) : "memory");
        asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
    } else if constexpr (BYTES == 8) {
        asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(a), "=r"(b) : "r"(at) : "memory");
        asm volatile("st.global.v2.b32 [%0], {%1,%2};" ::"l"(to), "r"(a), "r"(b) : "memory");
    } else if constexpr (BYTES == 4) {
        *(fc_u32 *)to = *(const fc_u32 *)from;
    } else {
        *to = *from;
    }
}
