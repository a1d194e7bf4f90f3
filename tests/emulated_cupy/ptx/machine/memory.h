// Where one lane's access goes: bounds, alignment, and who else touched shared memory.
#ifndef PTX_MEMORY_H
#define PTX_MEMORY_H
#include "machine.h"

enum { READ, WRITE, ATOMIC };

void find_range(Machine *m, u64 address, u32 bytes, int lane, const char *what);
// A lane touches shared memory: fails if another thread's access is not ordered before it by a barrier.
void mark(Machine *m, u32 address, u32 bytes, int lane, int access);
void mark_written(Machine *m, Warp *w, u32 address, u32 bytes, int lane, int flying);
// Sectors of a warp's access to global memory, or wavefronts of one to shared memory.
void count_access(Machine *m, int space, const u64 *address, u32 mask, u32 bytes);
void count_sectors(Machine *m, const u64 *address, u32 mask, u32 bytes);

static inline unsigned char *global_memory(Machine *m, u64 address, u32 bytes, int lane, const char *what) {
    if (address < m->hit.begin || address + bytes > m->hit.end) find_range(m, address, bytes, lane, what);
    if (address & (bytes - 1))
        fail(m, "misaligned %s of %u bytes at %#lx by lane %d", what, bytes, (long)address, lane);
    return (unsigned char *)address;
}

static inline unsigned char *shared_memory(Machine *m, u64 address, u32 bytes, int lane, int access) {
    address = (u32)address; // a negative register and an offset: 32-bit addresses wrap
    if (address + bytes > (u64)m->shared_bytes)
        fail(m, "out of bounds: shared memory, %u bytes at %ld of %ld, lane %d", bytes, (long)address,
             (long)m->shared_bytes, lane);
    if (address & (bytes - 1))
        fail(m, "misaligned access to shared memory, %u bytes at %ld, lane %d", bytes, (long)address, lane);
    if (m->l->check_races) mark(m, (u32)address, bytes, lane, access);
    return m->shared + address;
}

static inline int space_of(int space, u64 address) {
    return space != GENERIC ? space : WINDOW(address) == 0 ? GLOBAL : (int)WINDOW(address);
}

static inline __attribute__((always_inline)) unsigned char *place(Machine *m, int space, u64 address, u32 bytes,
                                                                  int lane, int access) {
    space = space_of(space, address);
    if (space == GLOBAL) return global_memory(m, address, bytes, lane, access == READ ? "read" : "write");
    address = IN_WINDOW(address);
    if (space == SHARED) return shared_memory(m, address, bytes, lane, access);
    const u64 room = (u64)(space == LOCAL ? m->l->local_bytes : m->l->param_bytes);
    if (address + bytes > room)
        fail(m, "out of bounds: %s, %u bytes at %ld of %ld", space == LOCAL ? "local memory" : "parameters", bytes,
             (long)address, (long)room);
    if (space == LOCAL) return m->w->local + lane * m->l->local_bytes + address;
    return (unsigned char *)m->l->params + address;
}
#endif
