// atom and red. Blocks run on several threads of the host, so that global memory needs the host's atomics.
#include "memory.h"
#include "numbers.h"

enum { ADD, MIN, MAX, AND, OR, XOR, EXCHANGE, CAS }; // ATOMIC_OPERATIONS of memory_access.py
enum { UNSIGNED, SIGNED, FLOAT };

static u64 updated(int operation, int kind, u32 size, u64 old, u64 value, u64 compared) {
    const int less = kind == UNSIGNED ? value < old : size == 4 ? (s32)value < (s32)old : (s64)value < (s64)old;
    switch (operation) {
    case ADD:
        if (kind != FLOAT) return old + value;
        return size == 4 ? as_bits(as_float((u32)old) + as_float((u32)value))
                         : as_bits64(as_double(old) + as_double(value));
    case MIN: return less ? value : old;
    case MAX: return less ? old : value;
    case AND: return old & value;
    case OR: return old | value;
    case XOR: return old ^ value;
    case EXCHANGE: return value;
    default: return old == compared ? value : old;
    }
}

// r: old or -1, address, value, compared or -1; immediate: offset; size: bytes;
// count: space | operation << 8 | kind << 16
void atomic(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    const int space = in->count & 255, operation = in->count >> 8 & 255, kind = (int)(in->count >> 16);
    u64 address[LANES];
    EACH_LANE(l) {
        address[l] = ADDRESS(1, l) + (u64)in->immediate;
        void *p = place(m, space, address[l], in->size, l, ATOMIC);
#define VALUE(i) (in->size == 8 ? ROW(u64, i)[l] : ROW(u32, i)[l])
        const u64 value = VALUE(2), compared = in->r[3] < 0 ? 0 : VALUE(3);
#undef VALUE
        if (in->size == 8) {
            u64 old = *(u64 *)p;
            while (!__atomic_compare_exchange_n((u64 *)p, &old, updated(operation, kind, 8, old, value, compared), 0,
                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            }
            if (in->r[0] >= 0) ROW(u64, 0)[l] = old;
        } else {
            u32 old = *(u32 *)p;
            while (!__atomic_compare_exchange_n((u32 *)p, &old, (u32)updated(operation, kind, 4, old, value, compared),
                                                0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            }
            if (in->r[0] >= 0) ROW(u32, 0)[l] = old;
        }
    }
    count_access(m, space, address, mask, in->size);
}
