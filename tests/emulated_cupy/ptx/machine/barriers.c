// Barriers in shared memory (mbarrier) and the tensor copy unit, whose copies land when their barrier is asked.
#include <string.h>

#include "memory.h"

// An mbarrier's word, in a format of our own: phase 1 | pending 15 | expected 15 | bytes to come 32 (biased).
#define BYTES_BIAS 0x40000000

static u64 barrier_word(s64 phase, s64 pending, s64 expected, s64 bytes) {
    return (u64)phase | (u64)pending << 1 | (u64)expected << 16 | (u64)(u32)(bytes + BYTES_BIAS) << 32;
}

static u64 *barrier_at(Machine *m, u64 address) {
    if (address + 8 > (u64)m->shared_bytes || address & 7) fail(m, "mbarrier at %ld", (long)address);
    return (u64 *)(m->shared + address);
}

static void barrier_change(Machine *m, u64 address, int arrivals, s64 bytes) {
    u64 *word = barrier_at(m, address);
    s64 phase = *word & 1, expected = *word >> 16 & 0x7fff;
    s64 pending = (s64)(*word >> 1 & 0x7fff) - arrivals, left = (s64)(*word >> 32) - BYTES_BIAS + bytes;
    if (pending < 0 || expected == 0)
        fail(m, "mbarrier at %ld: %d arrivals too many, or not initialised", (long)address, arrivals);
    if (pending == 0 && left == 0) phase ^= 1, pending = expected;
    *word = barrier_word(phase, pending, expected, left);
    m->idle = 0;
}

// r: address, count; immediate: offset
void barrier_init(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    EACH_LANE(l) {
        const u32 count = ROW(u32, 1)[l];
        *barrier_at(m, ADDRESS(0, l) + (u64)in->immediate) = barrier_word(0, count, count, 0);
    }
}

void barrier_arrive(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    EACH_LANE(l)
    barrier_change(m, ADDRESS(0, l) + (u64)in->immediate, in->r[1] >= 0 ? (int)ROW(u32, 1)[l] : 1, 0);
}

void barrier_expect(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    EACH_LANE(l) {
        const u64 address = ADDRESS(0, l) + (u64)in->immediate;
        *barrier_at(m, address) += (u64)ROW(u32, 1)[l] << 32;
        barrier_change(m, address, 1, 0);
    }
}

u32 swizzled(u32 address, u32 mode) { // mode: 0 none, 1 128 bytes, 2 64, 3 32: as wgmma's descriptors have it
    if (mode == 0) return address;
    return address ^ ((address >> 7 & (mode == 1 ? 7 : mode == 2 ? 3 : 1)) << 4);
}

static void land_box(Machine *m, const Bulk *b) {
    const TensorMap *t = b->map;
    const u32 rank = t->kind & 255, size = t->kind >> 8 & 255, mode = t->kind >> 16 & 255;
    u32 total = 1, at = 0;
    for (u32 d = 0; d < rank; d++) total *= t->box[d];
    if (b->to % (mode == 1 ? 1024 : mode == 2 ? 512 : mode == 3 ? 256 : 128))
        fail(m, "bulk copy: destination %u is not aligned for its swizzle", b->to);
    if (b->to + total * size > (u64)m->shared_bytes)
        fail(m, "bulk copy: %u bytes at %u of %ld", total * size, b->to, (long)m->shared_bytes);
    for (u32 e = 0; e < total; e++, at += size) {
        u64 from = t->address;
        int inside = 1;
        for (u32 d = 0, left = e; d < rank; d++) {
            const s64 c = b->at[d] + (s64)(left % t->box[d] * t->steps[d]);
            left /= t->box[d];
            inside &= c >= 0 && c < (s64)t->dims[d];
            from += (u64)c * (d ? t->strides[d - 1] : size);
        }
        unsigned char *to = m->shared + swizzled(b->to + at, mode);
        if (inside)
            memcpy(to, global_memory(m, from, size, 0, "bulk copy"), size);
        else
            memset(to, 0, size);
    }
    barrier_change(m, b->barrier, 0, -(s64)(total * size));
}

static void land_bulk(Machine *m, u64 barrier) { // all copies that report to this barrier
    int kept = 0;
    for (int i = 0; i < m->bulk_count; i++) {
        const Bulk b = m->bulk[i];
        if (b.barrier == barrier)
            land_box(m, &b);
        else
            m->bulk[kept++] = b;
    }
    m->bulk_count = kept;
}

// r: to, map, barrier, coordinates...; count: rank; narrow: bits of 0 and 2
void bulk_tensor(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    EACH_LANE(l) {
        if (m->bulk_count == MAX_BULK) fail(m, "more than %d bulk copies under way", MAX_BULK);
        const TensorMap *t = (const TensorMap *)place(m, GENERIC, ROW(u64, 1)[l] + (u64)in->immediate, 1, l, READ);
        if ((t->kind & 255) != in->count)
            fail(m, "bulk copy: rank %u of a tensor map of rank %u", in->count, (u32)(t->kind & 255));
        Bulk *b = &m->bulk[m->bulk_count++];
        *b = (Bulk){t, (u32)(ADDRESS(0, l) & 0xffffff), (u32)(ADDRESS(2, l) & 0xffffff), {0}};
        for (u32 d = 0; d < in->count; d++) b->at[d] = ROW(s32, 3 + d)[l];
    }
}

// r: predicate, address, parity; immediate: offset
int barrier_test(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    int waits = 0;
    EACH_LANE(l) {
        const u64 address = ADDRESS(1, l) + (u64)in->immediate;
        land_bulk(m, address);
        const int done = (*barrier_at(m, address) & 1) != (ROW(u32, 2)[l] & 1);
        ROW(u32, 0)[l] = done ? ~0u : 0;
        waits |= !done;
    }
    return !waits;
}
