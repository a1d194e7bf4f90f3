// Device primitives: all PTX of the library stands in this file, one small function per instruction.
//
// This text is put in front of every kernel's source: one string, so that CuPy's cache key sees it.
typedef unsigned char fc_u8;
typedef unsigned short fc_u16;
typedef unsigned int fc_u32;
typedef unsigned long long fc_u64;

#define FC_DYNAMIC_SHARED(name)                                                                                        \
    extern __shared__ __align__(128) unsigned char fc_smem[];                                                          \
    unsigned char *name = fc_smem

static __device__ __forceinline__ fc_u32 fc_shared_address(const void *p) {
    return (fc_u32)__cvta_generic_to_shared(p);
}

// A float16 by its bits as a float, and the nearest one of a float, ties to even.
static __device__ __forceinline__ float fc_half_to_float(fc_u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
static __device__ __forceinline__ fc_u16 fc_float_to_half(float x) {
    fc_u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// blockIdx and threadIdx.x, read anew each time: the compiler keeps nothing of them in registers.
static __device__ __forceinline__ int fc_block_index(int axis) {
    int i;
    if (axis == 0)
        asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(i));
    else if (axis == 1)
        asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(i));
    else
        asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(i));
    return i;
}
static __device__ __forceinline__ int fc_thread_index() {
    int i;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(i));
    return i;
}

// Two floats as a pair of bfloat16, round to nearest even; lo in the low half. (sm_80; older: not used)
static __device__ __forceinline__ fc_u32 fc_pack_bf16(float lo, float hi) {
    fc_u32 d;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(hi), "f"(lo));
    return d;
}

// Float to tf32, round to nearest, ties away: what mma truncates otherwise.
static __device__ __forceinline__ fc_u32 fc_to_tf32(float x) {
    fc_u32 d;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(d) : "f"(x));
    return d;
}

// x y + z and x + y, subnormal numbers and all, whatever the compiler's option -ftz says.
static __device__ __forceinline__ float fc_fma(float x, float y, float z) { return __fmaf_ieee_rn(x, y, z); }
static __device__ __forceinline__ double fc_fma(double x, double y, double z) { return fma(x, y, z); }
static __device__ __forceinline__ float fc_plus(float x, float y) { return __fmaf_ieee_rn(x, 1.f, y); }
static __device__ __forceinline__ double fc_plus(double x, double y) { return x + y; }

// x y + z and x + y modulo 2^32.
static __device__ __forceinline__ int fc_fma(int x, int y, int z) { return (fc_u32)x * (fc_u32)y + (fc_u32)z; }
static __device__ __forceinline__ int fc_plus(int x, int y) { return (fc_u32)x + (fc_u32)y; }

// x / y, and whether x is larger than y or NaN, likewise.
static __device__ __forceinline__ float fc_ratio(float x, float y) {
    float ratio;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(ratio) : "f"(x), "f"(y));
    return ratio;
}
static __device__ __forceinline__ double fc_ratio(double x, double y) { return x / y; }
#define FC_IS_LARGER(real, type, constraint)                                                                           \
    static __device__ __forceinline__ bool fc_is_larger(real x, real y) {                                              \
        fc_u32 is;                                                                                                     \
        asm("{ .reg .pred nan, p; setp.nan." type " nan, %1, %1; setp.gt.or." type " p, %1, %2, nan; "                 \
            "selp.u32 %0, 1, 0, p; }"                                                                                  \
            : "=r"(is)                                                                                                 \
            : constraint(x), constraint(y));                                                                           \
        return is;                                                                                                     \
    }
FC_IS_LARGER(float, "f32", "f")
FC_IS_LARGER(double, "f64", "d")

// Takes x for `best` if it is larger, and its place with it, likewise; neither is NaN.
#define FC_TAKE(real, type, constraint)                                                                                \
    static __device__ __forceinline__ void fc_take(real &best, real x) {                                               \
        asm("{ .reg .pred p; setp.gt." type " p, %1, %0; selp." type " %0, %1, %0, p; }"                               \
            : "+" constraint(best)                                                                                     \
            : constraint(x));                                                                                          \
    }                                                                                                                  \
    static __device__ __forceinline__ void fc_take(real &best, int &where, real x, int place) {                        \
        asm("{ .reg .pred p; setp.gt." type " p, %2, %0; selp." type " %0, %2, %0, p; selp.b32 %1, %3, %1, p; }"       \
            : "+" constraint(best), "+r"(where)                                                                        \
            : constraint(x), "r"(place));                                                                              \
    }
FC_TAKE(float, "f32", "f")
FC_TAKE(double, "f64", "d")

// Sets `found` to 1 if one of four numbers is NaN.
#define FC_NOTE_NAN(real, type, constraint)                                                                            \
    static __device__ __forceinline__ void fc_note_nan(fc_u32 &found, real a, real b, real c, real d) {                \
        asm("{ .reg .pred p, q; setp.nan." type " p, %1, %2; setp.nan.or." type " q, %3, %4, p; @q mov.u32 %0, 1; }"   \
            : "+r"(found)                                                                                              \
            : constraint(a), constraint(b), constraint(c), constraint(d));                                             \
    }
FC_NOTE_NAN(float, "f32", "f")
FC_NOTE_NAN(double, "f64", "d")

// Masks of those of a pair of half floats that are larger than others, and of those that are NaN, or the others are.
// (bfloat16: sm_90)
#define FC_COMPARE_PAIR(name, compared)                                                                                \
    template <bool IS_BFLOAT16> static __device__ __forceinline__ fc_u32 name(fc_u32 x, fc_u32 y) {                    \
        fc_u32 mask;                                                                                                   \
        if constexpr (IS_BFLOAT16)                                                                                     \
            asm("set." compared ".u32.bf16x2 %0, %1, %2;" : "=r"(mask) : "r"(x), "r"(y));                              \
        else                                                                                                           \
            asm("set." compared ".u32.f16x2 %0, %1, %2;" : "=r"(mask) : "r"(x), "r"(y));                               \
        return mask;                                                                                                   \
    }
FC_COMPARE_PAIR(fc_are_larger, "gt")
FC_COMPARE_PAIR(fc_are_nan, "nan")

// x y, subnormal numbers and all.
static __device__ __forceinline__ float fc_times(float x, float y) {
    float product;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(product) : "f"(x), "f"(y));
    return product;
}
static __device__ __forceinline__ double fc_times(double x, double y) { return x * y; }

// The element of 1, 2 or 4 bytes that lies there, in the low bits of a register; 0 where it is not there. Nothing is
// looked at that is not there, and nothing waits for it but its use.
template <int BYTES> static __device__ __forceinline__ fc_u32 fc_load_bits(const void *from, bool there) {
    fc_u32 bits;
    if (BYTES == 1)
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; mov.b32 %0, 0; @p ld.global.nc.u8 %0, [%1]; }"
                     : "=r"(bits)
                     : "l"(from), "r"((int)there));
    else if (BYTES == 2)
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; mov.b32 %0, 0; @p ld.global.nc.u16 %0, [%1]; }"
                     : "=r"(bits)
                     : "l"(from), "r"((int)there));
    else
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; mov.b32 %0, 0; @p ld.global.nc.u32 %0, [%1]; }"
                     : "=r"(bits)
                     : "l"(from), "r"((int)there));
    return bits;
}

// Sixteen bytes, likewise.
static __device__ __forceinline__ uint4 fc_load_four(const void *from, bool there) {
    uint4 x;
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0; "
                 "@p ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4]; }"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "l"(from), "r"((int)there));
    return x;
}

// Sixteen bytes to shared memory: the compiler takes vectors apart where stores of two branches meet.
static __device__ __forceinline__ void fc_store_shared_four(void *to, uint4 x) {
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(fc_shared_address(to)), "r"(x.x), "r"(x.y), "r"(x.z),
                 "r"(x.w)
                 : "memory");
}

// W words to global memory, likewise.
template <int W> static __device__ __forceinline__ void fc_store_words(void *to, const fc_u32 (&x)[W]) {
    static_assert(W == 1 || W == 2 || W == 4, "vectors of up to 16 bytes");
    if constexpr (W == 4)
        asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(to), "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
                     : "memory");
    else if constexpr (W == 2)
        asm volatile("st.global.v2.b32 [%0], {%1,%2};" ::"l"(to), "r"(x[0]), "r"(x[1]) : "memory");
    else
        asm volatile("st.global.b32 [%0], %1;" ::"l"(to), "r"(x[0]) : "memory");
}

// Asynchronous copy of BYTES (4, 8 or 16) to shared memory; the bytes from `valid` on are zeros. Before sm_80: a copy
// that is done at once, and `valid` is 0 or BYTES.
template <int BYTES> static __device__ __forceinline__ void fc_copy_async(void *to, const void *from, int valid) {
#if __CUDA_ARCH__ < 800
    struct __align__(BYTES) piece {
        fc_u32 word[BYTES / 4];
    } copied = {};
    if (valid) copied = *(const piece *)from;
    *(piece *)to = copied;
#else
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(fc_shared_address(to)), "l"(from), "r"(valid)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(fc_shared_address(to)), "l"(from),
                     "n"(BYTES), "r"(valid)
                     : "memory");
#endif
}
// One of 16 bytes on sm_80 or later, or none; without a branch.
static __device__ __forceinline__ void fc_copy_async_if(bool there, void *to, const void *from, int valid) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0; @p cp.async.cg.shared.global [%0], [%1], 16, %2; }" ::"r"(
                     fc_shared_address(to)),
                 "l"(from), "r"(valid), "r"((int)there)
                 : "memory");
}
static __device__ __forceinline__ void fc_copy_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int PENDING> static __device__ __forceinline__ void fc_copy_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i%8 of matrix i/8.
static __device__ __forceinline__ void fc_ldmatrix4(fc_u32 (&d)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(fc_shared_address(row))
                 : "memory");
}
// Two of them; lanes from 16 on give no address.
static __device__ __forceinline__ void fc_ldmatrix2(fc_u32 (&d)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(fc_shared_address(row))
                 : "memory");
}

// Four, each of them transposed.
static __device__ __forceinline__ void fc_ldmatrix4_transposed(fc_u32 (&d)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(fc_shared_address(row))
                 : "memory");
}

// Two of them; the addresses are those of lanes 0 to 15.
static __device__ __forceinline__ void fc_ldmatrix2_transposed(fc_u32 (&d)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(fc_shared_address(row))
                 : "memory");
}

// c += a b, 16x8x16, bfloat16 in, float32 out; a row-major, b column-major. g = lane/4, t = lane%4:
// a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..); b: (2t.., g) (2t+8.., g); c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8,
// 2t+1)
static __device__ __forceinline__ void fc_mma_bf16(float (&c)[4], const fc_u32 (&a)[4], fc_u32 b0, fc_u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ void fc_mma_f16(float (&c)[4], const fc_u32 (&a)[4], fc_u32 b0, fc_u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a b, 16x8x8, tf32 in, float32 out: a: (g, t) (g+8, t) (g, t+4) (g+8, t+4); b: (t, g) (t+4, g); c as above.
static __device__ __forceinline__ void fc_mma_tf32(float (&c)[4], const fc_u32 (&a)[4], fc_u32 b0, fc_u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a b modulo 2^32, 16x8x32, bytes in, int32 out: a: (g, 4t..) (g+8, 4t..) (g, 4t+16..) (g+8, 4t+16..); b: (4t..,
// g) (4t+16.., g); c as above.
template <bool A_SIGNED, bool B_SIGNED>
static __device__ __forceinline__ void fc_mma_bytes(int (&c)[4], const fc_u32 (&a)[4], fc_u32 b0, fc_u32 b1) {
#define FC_MMA_BYTES(a_type, b_type)                                                                                   \
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." a_type "." b_type                                            \
                 ".s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                          \
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])                                                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
    if constexpr (A_SIGNED && B_SIGNED)
        FC_MMA_BYTES("s8", "s8");
    else if constexpr (A_SIGNED)
        FC_MMA_BYTES("s8", "u8");
    else if constexpr (B_SIGNED)
        FC_MMA_BYTES("u8", "s8");
    else
        FC_MMA_BYTES("u8", "u8");
}

// z plus the four bytes of a word.
template <bool SIGNED> static __device__ __forceinline__ int fc_add_bytes(fc_u32 word, int z) {
    int sum;
    if (SIGNED)
        asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(word), "r"(0x01010101), "r"(z));
    else
        asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(word), "r"(0x01010101), "r"(z));
    return sum;
}

// n / d and n % d for 0 <= n < 2^31 by one multiplication: multiplier and shift from the host (`divider` in Python).
struct fc_divider {
    fc_u32 d, multiplier, shift;
};
static __device__ __forceinline__ fc_u32 fc_quotient(fc_u32 n, const fc_divider &v) {
    return v.d == 1 ? n : __umulhi(n, v.multiplier) >> v.shift;
}
