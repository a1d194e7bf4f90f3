// cp.async: the bytes land when they are waited for, as late as is permitted; until then nobody may touch them.
#include <stdlib.h>
#include <string.h>

#include "memory.h"

void land_copies(Machine *m, Warp *w, u32 mask, s64 pending) {
    int kept = 0;
    for (int i = 0; i < w->copy_count; i++) {
        const Copy c = w->copies[i];
        if (!(mask >> c.lane & 1) || c.group >= w->group[c.lane] - pending) {
            w->copies[kept++] = c;
            continue;
        }
        if (m->l->check_races) mark_written(m, w, c.to, c.bytes, c.lane, 0);
        memcpy(m->shared + c.to, (const void *)c.from, c.valid);
        memset(m->shared + c.to + c.valid, 0, c.bytes - c.valid);
    }
    w->copy_count = kept;
}

static void start_copy(Machine *m, Warp *w, int lane, u64 to, u64 from, u32 bytes, u32 valid) {
    shared_memory(m, to, bytes, lane, WRITE);
    if (m->l->check_races) mark_written(m, w, (u32)to, bytes, lane, 1);
    if (from & (bytes - 1)) fail(m, "misaligned cp.async of %u bytes from %#lx", bytes, (long)from);
    for (u32 i = 0; i < valid; i++) global_memory(m, from + i, 1, lane, "cp.async");
    if (w->copy_count == w->copy_room) {
        w->copy_room = w->copy_room * 2 + 64;
        w->copies = realloc(w->copies, sizeof(Copy) * (size_t)w->copy_room);
    }
    w->copies[w->copy_count++] = (Copy){(u32)to, from, bytes, valid, w->group[lane], lane};
}

// r: to, from, bytes that are valid or -1; immediate: offset of to; target: offset of from; size: bytes
void copy_async(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    u64 from[LANES];
    u32 reading = 0;
    EACH_LANE(l) {
        const u64 to = IN_WINDOW(ADDRESS(0, l) + (u64)in->immediate);
        const u32 valid = in->r[2] < 0 ? in->size : ROW(u32, 2)[l];
        from[l] = ROW(u64, 1)[l] + (u64)(s64)in->target;
        start_copy(m, w, l, to, from[l], in->size, valid > in->size ? in->size : valid);
        reading |= (valid ? 1u : 0u) << l;
    }
    if (reading) count_sectors(m, from, reading, in->size);
}
