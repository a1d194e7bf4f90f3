// What the lanes of a warp do together. The caller has made sure that all of them are here.
#include <string.h>

#include "memory.h"

enum { SHFL_IDX, SHFL_UP, SHFL_DOWN, SHFL_BFLY };

// r: d, predicate or -1, a, lane, clamp, members; immediate: mode
void shuffle(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    u32 old[LANES];
    memcpy(old, ROW(u32, 2), sizeof old);
    EACH_LANE(l) {
        const u32 b = ROW(u32, 3)[l] & 31, c = ROW(u32, 4)[l], segment = c >> 8 & 31, lane = (u32)l;
        const int limit = (int)((lane & segment) | (c & 31 & ~segment));
        int from;
        switch (in->immediate) {
        case SHFL_IDX: from = (int)((lane & segment) | (b & ~segment)); break;
        case SHFL_UP: from = l - (int)b; break;
        case SHFL_DOWN: from = l + (int)b; break;
        default: from = (int)(lane ^ b);
        }
        const int inside = in->immediate == SHFL_UP ? from >= limit : from <= limit;
        if (inside && !(mask >> from & 1)) fail(m, "shuffle from lane %d, which does not take part", from);
        ROW(u32, 0)[l] = old[inside ? from : l];
        if (in->r[1] >= 0) ROW(u32, 1)[l] = inside ? ~0u : 0;
    }
}

// r: d, predicate, members; immediate: 0 all 1 any 2 ballot 3 uniform; count: the predicate is negated
void vote(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    (void)m;
    const u32 p = (predicate_bits(w->rows, in->r[1]) ^ (in->count ? ~0u : 0)) & mask;
    const int holds = in->immediate == 0 ? p == mask : in->immediate == 1 ? p != 0 : p == mask || p == 0;
    EACH_LANE(l) ROW(u32, 0)[l] = in->immediate == 2 ? p : holds ? ~0u : 0;
}

// r: d, a, members
void match_any(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    (void)m;
    u32 same[LANES] = {0};
    EACH_LANE(l)
    for (int k = 0; k < LANES; k++)
        if (mask >> k & 1 && ROW(u32, 1)[k] == ROW(u32, 1)[l]) same[l] |= 1u << k;
    EACH_LANE(l) ROW(u32, 0)[l] = same[l];
}

// redux. r: d, a, members; immediate: 0 add 1 min 2 max 3 and 4 or 5 xor; count: signed
void reduce(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    (void)m;
    const u32 flip = in->count ? 1u << 31 : 0; // signed order
    u32 all = ROW(u32, 1)[__builtin_ctz(mask)];
    const u32 others = mask & (mask - 1);
    for (int l = 0; l < LANES; l++)
        if (others >> l & 1) {
            const u32 x = ROW(u32, 1)[l];
            const int less = (x ^ flip) < (all ^ flip);
            switch (in->immediate) {
            case 0: all += x; break;
            case 1: all = less ? x : all; break;
            case 2: all = less ? all : x; break;
            case 3: all &= x; break;
            case 4: all |= x; break;
            default: all ^= x;
            }
        }
    EACH_LANE(l) ROW(u32, 0)[l] = all;
}

// Lane l holds elements (l / 4, l % 4 * 2) and the next one of a matrix, or of its transpose.
#define LOW(tile, l, transposed) (*((transposed) ? &(tile)[(l) % 4 * 2][(l) / 4] : &(tile)[(l) / 4][(l) % 4 * 2]))
#define HIGH(tile, l, transposed)                                                                                      \
    (*((transposed) ? &(tile)[(l) % 4 * 2 + 1][(l) / 4] : &(tile)[(l) / 4][(l) % 4 * 2 + 1]))

// r: d[count], address; immediate: offset; size: transposed
void load_matrix(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    (void)mask;
    const int n = (int)in->count;
    u64 address[LANES] = {0};
    u32 values[4][LANES];
    for (int i = 0; i < n; i++) {
        uint16_t tile[8][8];
        for (int row = 0; row < 8; row++) {
            const int l = i * 8 + row;
            address[l] = IN_WINDOW(ADDRESS(n, l) + (u64)in->immediate);
            memcpy(tile[row], shared_memory(m, address[l], 16, l, READ), 16);
        }
        for (int l = 0; l < LANES; l++) values[i][l] = (u32)LOW(tile, l, in->size) | (u32)HIGH(tile, l, in->size) << 16;
    }
    for (int i = 0; i < n; i++) memcpy(ROW(u32, i), values[i], sizeof values[i]);
    count_access(m, SHARED, address, n == 4 ? ~0u : (1u << 8 * n) - 1, 16);
}

// r: a[count], address; immediate: offset; size: transposed
void store_matrix(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    (void)mask;
    const int n = (int)in->count;
    u64 address[LANES] = {0};
    for (int i = 0; i < n; i++) {
        uint16_t tile[8][8];
        for (int l = 0; l < LANES; l++) {
            LOW(tile, l, in->size) = (uint16_t)ROW(u32, i)[l];
            HIGH(tile, l, in->size) = (uint16_t)(ROW(u32, i)[l] >> 16);
        }
        for (int row = 0; row < 8; row++) {
            const int l = i * 8 + row;
            address[l] = IN_WINDOW(ADDRESS(n, l) + (u64)in->immediate);
            memcpy(shared_memory(m, address[l], 16, l, WRITE), tile[row], 16);
        }
    }
    count_access(m, SHARED, address, n == 4 ? ~0u : (1u << 8 * n) - 1, 16);
}
