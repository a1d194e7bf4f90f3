// mma.sync: products of one warp whose operands lie in registers. Lane l is row group g = l / 4, column group t = l
// % 4.
#include <string.h>

#include "numbers.h"

float element16(u32 value, int kind) { return (float)(kind == BF16 ? from_bf16(value & 0xffff) : from_f16(value)); }

static float element(u32 value, int e, int kind) { // tf32: the bits that the unit looks at
    return kind == TF32 ? as_float(value & 0xffffe000) : element16(value >> 16 * e & 0xffff, kind);
}

// d = a b + c, 16 x 8 x k. r: d4, then a, b, and c4; a register of a and b has `per` elements along k.
// size: kind of the elements; count: runs of 4 per along k, 1 or 2.
void multiply(Warp *w, const Instruction *in) {
    const int kind = (int)in->size, runs = (int)in->count, per = kind == TF32 ? 1 : 2, k_size = 4 * per * runs;
    const int b_at = 4 + 2 * runs, c_at = b_at + runs;
    float a[16][16], b[16][8], sum[16][8] = {{0}};
    for (int l = 0; l < LANES; l++)
        for (int run = 0; run < runs; run++)
            for (int e = 0; e < per; e++) {
                const int g = l / 4, k = l % 4 * per + e + run * 4 * per;
                a[g][k] = element(ROW(u32, 4 + run * 2)[l], e, kind);
                a[g + 8][k] = element(ROW(u32, 5 + run * 2)[l], e, kind);
                b[k][g] = element(ROW(u32, b_at + run)[l], e, kind);
            }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < k_size; k++)
            for (int n = 0; n < 8; n++) sum[i][n] += a[i][k] * b[k][n];
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 4; i++)
            ROW(float, i)[l] = ROW(float, c_at + i)[l] + sum[l / 4 + (i > 1 ? 8 : 0)][l % 4 * 2 + (i & 1)];
}

// The same of 8-bit integers: four to a register. size: kind of a | kind of b << 8
void multiply_integers(Warp *w, const Instruction *in) {
    const int runs = (int)in->count, b_at = 4 + 2 * runs, c_at = b_at + runs, a_kind = in->size & 255;
    const int b_kind = in->size >> 8;
    s32 a[16][32], b[32][8], sum[16][8] = {{0}};
#define BYTE(value, kind) ((kind) == S8 ? (s32)(int8_t)((value) >> 8 * e) : (s32)((value) >> 8 * e & 255))
    for (int l = 0; l < LANES; l++)
        for (int run = 0; run < runs; run++)
            for (int e = 0; e < 4; e++) {
                const int g = l / 4, k = l % 4 * 4 + e + run * 16;
                a[g][k] = BYTE(ROW(u32, 4 + run * 2)[l], a_kind);
                a[g + 8][k] = BYTE(ROW(u32, 5 + run * 2)[l], a_kind);
                b[k][g] = BYTE(ROW(u32, b_at + run)[l], b_kind);
            }
#undef BYTE
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16 * runs; k++)
            for (int n = 0; n < 8; n++) sum[i][n] += a[i][k] * b[k][n];
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 4; i++)
            ROW(u32, i)[l] = ROW(u32, c_at + i)[l] + (u32)sum[l / 4 + (i > 1 ? 8 : 0)][l % 4 * 2 + (i & 1)];
}

// 8 x 8 x 4 of doubles. r: d2 a b c2
void multiply_double(Warp *w, const Instruction *in) {
    double sum[8][8];
    for (int i = 0; i < 8; i++)
        for (int n = 0; n < 8; n++) {
            double s = ROW(double, 4 + n % 2)[i * 4 + n / 2];
            for (int k = 0; k < 4; k++) s = fma(ROW(double, 2)[i * 4 + k], ROW(double, 3)[n * 4 + k], s);
            sum[i][n] = s;
        }
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 2; i++) ROW(double, i)[l] = sum[l / 4][l % 4 * 2 + i];
}
