// Bounds of global memory, races in shared memory, and counts of what the memory pipes move.
#include <stdlib.h>

#include "memory.h"

void find_range(Machine *m, u64 address, u32 bytes, int lane, const char *what) {
    s64 low = 0, high = m->l->range_count;
    while (low < high) {
        const s64 middle = (low + high) / 2;
        if (m->l->ranges[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    const Range *r = &m->l->ranges[low];
    if (low == m->l->range_count || address < r->begin || address + bytes > r->end)
        fail(m, "out of bounds: %s of %u bytes at %#lx by lane %d", what, bytes, (long)address, lane);
    m->hit = *r, m->hit_number = low;
}

// Whether the mark is of another thread, and no barrier lies between.
static int unordered(Machine *m, const Mark *k, int thread, int access) {
    if (!k->kind || k->epoch != m->epoch || (access == ATOMIC && k->atomic)) return 0;
    if (k->kind < 3 && k->thread >> 5 == thread >> 5 && k->warp_epoch != m->w->epoch) return 0;
    return k->kind > 1 || k->thread != thread;
}

void mark(Machine *m, u32 address, u32 bytes, int lane, int access) {
    const int thread = m->w->index * LANES + lane, writes = access != READ, shift = m->l->mark_shift;
    for (u32 i = address >> shift; i < (address + bytes) >> shift; i++) {
        Mark *w = &m->writes[i], *r = &m->reads[i];
        if (w->flying)
            fail(m, "shared byte %u is %s by thread %d while a cp.async of thread %d fills it", address,
                 writes ? "written" : "read", thread, w->thread);
        const int after_write = unordered(m, w, thread, access);
        if (after_write || (writes && unordered(m, r, thread, access)))
            fail(m, "race in shared memory at byte %u: thread %d %s what thread %d %s since the last barrier", address,
                 thread, writes ? "writes" : "reads", after_write ? w->thread : r->thread,
                 after_write ? "wrote" : "read");
        Mark *k = writes ? w : r;
        unsigned char kind = 1;
        if (k->kind && k->epoch == m->epoch && k->thread != thread && (!writes || access == ATOMIC))
            kind = k->kind == 3 || k->thread >> 5 != thread >> 5 ? 3 : 2;
        *k = (Mark){m->epoch, m->w->epoch, (uint16_t)thread, kind, access == ATOMIC, 0};
    }
}

void mark_written(Machine *m, Warp *w, u32 address, u32 bytes, int lane, int flying) {
    const int shift = m->l->mark_shift;
    for (u32 i = address >> shift; i < (address + bytes) >> shift; i++)
        m->writes[i] = (Mark){m->epoch, w->epoch, (uint16_t)(w->index * LANES + lane), 1, 0, (unsigned char)flying};
}

static int touch(Machine *m, u64 sector);

// Room for twice as many sectors; those of the block that runs are kept.
static void grow(Machine *m) {
    Touched old = m->touched, *t = &m->touched;
    t->size = old.size ? 2 * old.size : 1024, t->used = 0;
    t->entries = calloc(t->size, sizeof *t->entries);
    for (u64 i = 0; i < old.size; i++)
        if (old.entries[i].block == m->block_number) touch(m, old.entries[i].sector);
    free(old.entries);
}

// 1 where the block has not touched the sector before.
static int touch(Machine *m, u64 sector) {
    Touched *t = &m->touched;
    if (2 * t->used >= t->size) grow(m);
    u64 i = sector * 0x9e3779b97f4a7c15ull >> 20 & (t->size - 1);
    for (; t->entries[i].block == m->block_number; i = (i + 1) & (t->size - 1))
        if (t->entries[i].sector == sector) return 0;
    t->entries[i].sector = sector, t->entries[i].block = m->block_number;
    t->used++;
    return 1;
}

void count_sectors(Machine *m, const u64 *address, u32 mask, u32 bytes) {
    u64 seen[LANES * 2];
    int n = 0;
    EACH_LANE(l)
    for (u64 sector = address[l] / 32; sector <= (address[l] + bytes - 1) / 32; sector++) {
        int i = n - 1;
        while (i >= 0 && seen[i] != sector) i--;
        if (i < 0) seen[n++] = sector;
    }
    u64 first = 0;
    for (int i = 0; i < n; i++) first += (u64)touch(m, seen[i]);
    m->l->touched[m->at] += first, m->l->in_range[m->hit_number] += first;
    m->l->moved[m->at] += (u64)n;
    m->l->least[m->at] += ((u32)__builtin_popcount(mask) * bytes + 31) / 32;
}

// Lanes are served 128 bytes at a time, each by a group of banks; the same word is read once.
static void count_wavefronts(Machine *m, const u64 *address, u32 mask, u32 bytes) {
    const u32 unit = bytes <= 4 ? 4 : bytes, groups = 128 / unit;
    int total = 0;
    for (u32 first = 0; first < LANES; first += groups) {
        u32 units[LANES][LANES];
        unsigned char held[LANES] = {0};
        int most = 0;
        for (u32 l = first; l < first + groups; l++)
            if (mask >> l & 1) {
                const u32 u = (u32)address[l] / unit, g = u % groups;
                int i = held[g] - 1;
                while (i >= 0 && units[g][i] != u) i--;
                if (i < 0) {
                    units[g][held[g]] = u;
                    if (++held[g] > most) most = held[g];
                }
            }
        total += most;
    }
    m->l->moved[m->at] += (u64)total;
    m->l->least[m->at] += unit / 4;
}

void count_access(Machine *m, int space, const u64 *address, u32 mask, u32 bytes) {
    space = space_of(space, address[__builtin_ctz(mask)]);
    if (space == GLOBAL) count_sectors(m, address, mask, bytes);
    if (space == SHARED) count_wavefronts(m, address, mask, bytes);
}
