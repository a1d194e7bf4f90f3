// wgmma: products of four warps whose operands lie in shared memory. One is computed when it is waited for.
#include "machine.h"

// Element (row of M or N, k) of a matrix of 16-bit elements in shared memory, by its descriptor.
static uint16_t matrix_element(Machine *m, u64 descriptor, u32 row, u32 k, int rows_contiguous) {
    const u32 start = (descriptor & 0x3fff) << 4, leading = (descriptor >> 16 & 0x3fff) << 4;
    const u32 stride = (descriptor >> 32 & 0x3fff) << 4, mode = (u32)(descriptor >> 62);
    const u32 span = mode == 0 ? 16 : mode == 1 ? 128 : mode == 2 ? 64 : 32; // bytes
    u32 a;
    if (!rows_contiguous) // groups of 8 rows `stride` apart; without swizzle, 16-byte columns `leading` apart
        a = row / 8 * stride + row % 8 * span + (mode ? k * 2 : k / 8 * leading + k % 8 * 2);
    else if (mode) // rows in runs of `span`, runs `leading` apart, groups of 8 k `stride` apart
        a = row % (span / 2) * 2 + row / (span / 2) * leading + k % 8 * span + k / 8 * stride;
    else
        a = row % 8 * 2 + row / 8 * stride + k % 8 * 16 + k / 8 * leading;
    a = swizzled(start + a, mode);
    if (a + 2 > (u64)m->shared_bytes) fail(m, "wgmma reads shared memory at %u of %ld", a, (long)m->shared_bytes);
    return *(uint16_t *)(m->shared + a);
}

// r: d[count], descriptors of a and b, predicate; immediate: transposed a | b << 1; size: kind of the elements
void issue_product(Machine *m, Warp *w, const Instruction *in) {
    if (w->product_count == MAX_PRODUCTS) fail(m, "more than %d wgmma under way", MAX_PRODUCTS);
    w->product[w->product_count++] = (Product){
        in,         ROW(u64, in->count)[0], ROW(u64, in->count + 1)[0], ROW(u32, in->count + 2)[0], w->product_group,
        ++w->issued};
}

// One warp's 16 of the 64 rows; d is count/4 tiles of 8 columns, 4 registers each.
static void compute(Machine *m, Warp *w, const Product *p) {
    static __thread float a[16][16], b[16][256];
    const Instruction *in = p->in;
    const int columns = (int)in->count * 2, kind = (int)in->size, first = w->index % 4 * 16;
    for (int k = 0; k < 16; k++) {
        for (int row = 0; row < 16; row++)
            a[row][k] = element16(matrix_element(m, p->a, (u32)(first + row), (u32)k, in->immediate & 1), kind);
        for (int col = 0; col < columns; col++)
            b[k][col] = element16(matrix_element(m, p->b, (u32)col, (u32)k, in->immediate >> 1 & 1), kind);
    }
    for (int row = 0; row < 16; row++) {
        float sum[256] = {0};
        for (int k = 0; k < 16; k++)
            for (int col = 0; col < columns; col++) sum[col] += a[row][k] * b[k][col];
        for (int col = 0; col < columns; col++) {
            float *d = ROW(float, col / 8 * 4 + (row >= 8 ? 2 : 0) + (col & 1)) + (row % 8 * 4 + col % 8 / 2);
            *d = (p->accumulate ? *d : 0) + sum[col];
        }
    }
}

// A wgmma is one operation of four warps: it ends for none before all have issued it, and then for all of them, so that
// one thread may tell for its warpgroup that shared memory is free.
int land_products(Machine *m, Warp *w, s64 pending) {
    s64 last = 0;
    for (int i = 0; i < w->product_count; i++)
        if (w->product[i].group < w->product_group - pending) last = w->product[i].number;
    const int first = w->index / 4 * 4;
    Warp *group = m->warps + first;
    for (int j = 0; j < 4; j++) {
        const int there = first + j < m->warp_count;
        if (there && group[j].issued >= last) continue;
        if (!there || group[j].state == FINISHED) fail(m, "wgmma that not all four warps of a group issue");
        return 0;
    }
    for (int j = 0; j < 4; j++) {
        Warp *other = &group[j];
        int kept = 0;
        for (int i = 0; i < other->product_count; i++)
            if (other->product[i].number > last)
                other->product[kept++] = other->product[i];
            else
                compute(m, other, &other->product[i]);
        other->product_count = kept;
    }
    return 1;
}
