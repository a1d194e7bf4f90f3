// All sliding blocks of an image as columns, and their sums.
//
// Block o of an axis has the elements o * S + k * D - P of the image, k < K; those outside are zeros. K0.. S0.. D0.. P0..
// are of the axes d, h, w. Columns have a row for each (channel, k) and a column for each block.
// Layout: any strides of what is read; what is written is contiguous, and stored in runs of VECTOR elements, which
// divides the blocks or the image's elements along w. WIDE makes offsets inside a channel 64-bit.
// Numerics: `fold` gathers, each element the sum over the kernel in its order, in double, integers modulo 2^64; each is
// rounded once.
// ELEMENT: the arrays' type. INSIDE: rows of the kernel that a thread visits. UNROLLED: whether loops are.
#define THREADS 128
#if WIDE
typedef long long place_t;
#else
typedef int place_t;
#endif

struct unfold_problem {
    long long source_stride[5]; // of the image: n, channel, d, h, w; of columns: n, row, 0, 0, column
    long long source_at, result_at;
    int size[3], counts[3], channels;
    fc_divider units[5]; // of what threads are numbered along, the fastest first; the rest is the image
    fc_u32 count;
};

// V elements of 8 bytes at most that are stored at once, or one. By inline PTX, since the compiler takes stores apart.
template <typename T, int V> struct __align__(sizeof(T) * V) fc_run {
    T v[V];
    __device__ __forceinline__ void store(T *to) const {
        if constexpr (V == 1)
            *to = v[0];
        else if constexpr (sizeof(*this) == 8)
            asm volatile("st.global.b64 [%0], %1;" ::"l"(to), "l"(__builtin_bit_cast(fc_u64, *this)) : "memory");
        else if constexpr (sizeof(*this) == 4)
            asm volatile("st.global.b32 [%0], %1;" ::"l"(to), "r"(__builtin_bit_cast(fc_u32, *this)) : "memory");
        else
            asm volatile("st.global.b16 [%0], %1;" ::"l"(to), "h"(__builtin_bit_cast(fc_u16, *this)) : "memory");
    }
};

static __device__ __forceinline__ fc_u32 fc_next(fc_u32 &index, const fc_divider &v) {
    const fc_u32 rest = fc_quotient(index, v), part = index - rest * v.d;
    index = rest;
    return part;
}

#ifndef IS_SUMMED
// A thread has VECTOR blocks that are neighbours along w, and INSIDE rows of the kernel.
extern "C" __global__ void __launch_bounds__(THREADS)
    unfold(const ELEMENT *__restrict__ image, ELEMENT *__restrict__ columns, const __grid_constant__ unfold_problem c) {
    fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= c.count) return;
    const int w = fc_next(index, c.units[0]) * VECTOR, h = fc_next(index, c.units[1]), d = fc_next(index, c.units[2]);
    const int row = fc_next(index, c.units[3]) * INSIDE; // of the kernel: plane and row
    const int channel = fc_next(index, c.units[4]), kd = row / K1, first = row - kd * K1; // divisions by constants
    const int i = d * S0 + kd * D0 - P0, j = h * S1 + first * D1 - P1, k = w * S2 - P2;
    const ELEMENT *from = image + (c.source_at + index * c.source_stride[0] + channel * c.source_stride[1]);
    const place_t at = (place_t)i * (place_t)c.source_stride[2] + (place_t)j * (place_t)c.source_stride[3] +
                       (place_t)k * (place_t)c.source_stride[4];
    const place_t blocks = (place_t)c.counts[0] * c.counts[1] * c.counts[2];
    ELEMENT *to = columns + (c.result_at + ((long long)(index * c.channels + channel) * (K0 * K1) + row) * K2 * blocks +
                             ((d * c.counts[1] + h) * (place_t)c.counts[2] + w));
#pragma unroll UNROLLED
    for (int y = 0; y < INSIDE; y++) {
        const bool inside = (fc_u32)i < (fc_u32)c.size[0] && (fc_u32)(j + y * D1) < (fc_u32)c.size[1];
        const place_t line = at + y * D1 * (place_t)c.source_stride[3];
#pragma unroll UNROLLED
        for (int x = 0; x < K2; x++) {
            fc_run<ELEMENT, VECTOR> run;
#pragma unroll
            for (int v = 0; v < VECTOR; v++) {
                const int offset = x * D2 + v * S2;
                run.v[v] = ELEMENT();
                if (inside && (fc_u32)(k + offset) < (fc_u32)c.size[2])
                    run.v[v] = from[line + offset * (place_t)c.source_stride[4]];
            }
            run.store(to + (y * K2 + x) * blocks);
        }
    }
}
#else
// The blocks of an axis that may have an element: `last` - j, j < COUNT, at the kernel's element (rest + j * S) / D.
template <int KERNEL, int STEP, int DISTANCE> struct fc_blocks {
    static constexpr int count = (KERNEL - 1) * DISTANCE / STEP + 1;
    int last, rest;
    __device__ __forceinline__ fc_blocks(int place) : last(place / STEP), rest(place % STEP) {}
    // The kernel's element; negative where there is none.
    __device__ __forceinline__ int tap(int j) const {
        const int distance = rest + j * STEP;
        return distance % DISTANCE == 0 && distance / DISTANCE < KERNEL ? distance / DISTANCE : -1;
    }
};

// A thread has ROWS x VECTOR elements. Where S divides these, the compiler knows which blocks they are in.
extern "C" __global__ void __launch_bounds__(THREADS)
    fold(const ELEMENT *__restrict__ columns, ELEMENT *__restrict__ image, const __grid_constant__ unfold_problem c) {
    fc_u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= c.count) return;
    const int w = fc_next(index, c.units[0]) * VECTOR, h = fc_next(index, c.units[1]) * ROWS;
    const int d = fc_next(index, c.units[2]), channel = fc_next(index, c.units[3]);
    const ELEMENT *from = columns + (c.source_at + index * c.source_stride[0] +
                                     (long long)channel * (K0 * K1 * K2) * c.source_stride[1]);
    const place_t row = (place_t)c.source_stride[1], column = (place_t)c.source_stride[4];
    ELEMENT *to = image + (c.result_at + (((long long)(index * c.channels + channel) * c.size[0] + d) * c.size[1] + h) *
                                             c.size[2] + w);
    const fc_blocks<K0, S0, D0> deep(d + P0);
    // Of the unit's first element; S times a whole number lies in front of the others.
    const int high = ROWS % S1 == 0 ? h / S1 : 0, wide = VECTOR % S2 == 0 ? w / S2 : 0;
#pragma unroll
    for (int u = 0; u < ROWS; u++) {
        if (ROWS > 1 && h + u >= c.size[1]) break;
        const fc_blocks<K1, S1, D1> y(ROWS % S1 == 0 ? u + P1 : h + u + P1);
        fc_run<ELEMENT, VECTOR> run;
#pragma unroll
        for (int v = 0; v < VECTOR; v++) {
            const fc_blocks<K2, S2, D2> x(VECTOR % S2 == 0 ? v + P2 : w + v + P2);
            fc_wide<ELEMENT> sum = fc_wide<ELEMENT>();
#pragma unroll UNROLLED
            for (int i = 0; i < deep.count; i++)
#pragma unroll UNROLLED
                for (int j = 0; j < y.count; j++)
#pragma unroll UNROLLED
                    for (int k = 0; k < x.count; k++) {
                        const int a = deep.tap(i), b = y.tap(j), e = x.tap(k);
                        const int od = deep.last - i, oh = high + y.last - j, ow = wide + x.last - k;
                        if (a < 0 || b < 0 || e < 0 || (fc_u32)od >= (fc_u32)c.counts[0] ||
                            (fc_u32)oh >= (fc_u32)c.counts[1] || (fc_u32)ow >= (fc_u32)c.counts[2])
                            continue;
                        const place_t block = (od * c.counts[1] + oh) * (place_t)c.counts[2] + ow;
                        fc_add(sum, fc_widen(from[((a * K1 + b) * K2 + e) * row + block * column]));
                    }
            fc_narrow(sum, run.v[v]);
        }
        run.store(to + u * c.size[2]);
    }
}
#endif
