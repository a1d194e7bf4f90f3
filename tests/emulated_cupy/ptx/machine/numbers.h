// Number formats and small arithmetic of single lanes.
#ifndef PTX_NUMBERS_H
#define PTX_NUMBERS_H
#include <math.h>
#include <string.h>

#include "machine.h"

static inline float as_float(u32 u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline u32 as_bits(float f) {
    u32 u;
    memcpy(&u, &f, 4);
    return u;
}
static inline double as_double(u64 u) {
    double d;
    memcpy(&d, &u, 8);
    return d;
}
static inline u64 as_bits64(double d) {
    u64 u;
    memcpy(&u, &d, 8);
    return u;
}
static inline double from_bf16(u32 u) { return as_float(u << 16); }
static inline u32 to_bf16(double x) { // once rounded: through a float rounded to odd
    const float f = (float)x;
    u32 u = as_bits(f);
    if (x != x) return 0x7fff;
    if ((double)f != x && f - f == 0) u = (u - (fabs((double)f) > fabs(x))) | 1;
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
static inline double from_f16(u32 h) {
    _Float16 x;
    const uint16_t u = (uint16_t)h;
    memcpy(&x, &u, 2);
    return (double)x;
}
static inline u32 to_f16(double d) {
    const _Float16 x = (_Float16)d;
    uint16_t u;
    memcpy(&u, &x, 2);
    return u;
}
// min and max of PTX: a NaN is left aside, or, of the .NaN forms, is the result; -0 is less than +0.
static inline double smaller(double x, double y) {
    return x != x ? y : y != y ? x : x < y || (x == y && signbit(x)) ? x : y;
}
static inline double larger(double x, double y) {
    return x != x ? y : y != y ? x : x > y || (x == y && signbit(y)) ? x : y;
}
static inline double smaller_nan(double x, double y) { return x != x || y != y ? NAN : smaller(x, y); }
static inline double larger_nan(double x, double y) { return x != x || y != y ? NAN : larger(x, y); }

static inline u32 permute(u32 a, u32 b, u32 select) { // prmt
    const u64 v = (u64)b << 32 | a;
    u32 d = 0;
    for (int i = 0; i < 4; i++) {
        const u32 pick = select >> 4 * i & 15, byte = v >> (pick & 7) * 8 & 255;
        d |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return d;
}
static inline u32 reversed(u32 x) { // brev
    x = x >> 16 | x << 16;
    x = (x & 0xff00ff00) >> 8 | (x & 0x00ff00ff) << 8;
    x = (x & 0xf0f0f0f0) >> 4 | (x & 0x0f0f0f0f) << 4;
    x = (x & 0xcccccccc) >> 2 | (x & 0x33333333) << 2;
    return (x & 0xaaaaaaaa) >> 1 | (x & 0x55555555) << 1;
}
static inline u32 extracted(u32 x, u32 at, u32 bits, int is_signed) { // bfe
    at &= 255, bits &= 255;
    if (bits == 0) return 0;
    u32 v = at > 31 ? (is_signed && x >> 31 ? ~0u : 0) : is_signed ? (u32)((s32)x >> at) : x >> at;
    if (bits > 31) return v;
    v &= (1u << bits) - 1;
    return is_signed && v >> (bits - 1) & 1 ? v | ~((1u << bits) - 1) : v;
}
static inline u32 inserted(u32 from, u32 into, u32 at, u32 bits) { // bfi
    at &= 255, bits &= 255;
    const u64 ones = bits > 31 ? 0xffffffffull : (1ull << bits) - 1;
    const u32 mask = at > 31 ? 0 : (u32)(ones << at);
    return (into & ~mask) | ((at > 31 ? 0 : from << at) & mask);
}
static inline u64 inserted64(u64 from, u64 into, u32 at, u32 bits) {
    at &= 255, bits &= 255;
    const u64 ones = bits > 63 ? ~0ull : (1ull << bits) - 1;
    const u64 mask = at > 63 ? 0 : ones << at;
    return (into & ~mask) | ((at > 63 ? 0 : from << at) & mask);
}
static inline u32 looked_up(u32 x, u32 y, u32 z, u32 table) { // lop3
    u32 v = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1) v |= (i & 4 ? x : ~x) & (i & 2 ? y : ~y) & (i & 1 ? z : ~z);
    return v;
}
static inline s32 dot4(u32 a, u32 b, s32 sum, int a_signed, int b_signed) { // dp4a
    for (int i = 0; i < 4; i++) {
        const u32 x = a >> 8 * i & 255, y = b >> 8 * i & 255;
        sum = (s32)((u32)sum + (u32)((a_signed ? (int8_t)x : (s32)x) * (b_signed ? (int8_t)y : (s32)y)));
    }
    return sum;
}
// Conversions of a rounded float to integers saturate; NaN is zero.
static inline s64 to_signed(double x, int bits) {
    const double end = ldexp(1, bits - 1);
    const s64 most = (s64)((1ull << (bits - 1)) - 1);
    return x != x ? 0 : x >= end ? most : x < -end ? -most - 1 : (s64)x;
}
static inline u64 to_unsigned(double x, int bits) {
    return !(x > 0) ? 0 : x >= ldexp(1, bits) ? ~0ull >> (64 - bits) : (u64)x;
}

// x y + z, rounded down: the product is exact in double, and of its sum with z both parts are known.
static inline float fma_down(float x, float y, float z) {
    const double product = (double)x * y, sum = product + z, of_z = sum - product;
    const double rest = (product - (sum - of_z)) + (z - of_z);
    const float nearest = (float)sum;
    return nearest > sum || (nearest == sum && rest < 0) ? nextafterf(nearest, -INFINITY) : nearest;
}

#endif
