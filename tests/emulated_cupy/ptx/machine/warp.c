// The execution of one warp: which lanes go on, and one instruction after the other, until it has to wait.
#include "memory.h"
#include "numbers.h"
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// The operations that are not in arithmetic.inc.
#define OTHERS                                                                                                         \
    OPERATION(bra, "bra")                                                                                              \
    OPERATION(ret, "ret")                                                                                              \
    OPERATION(nop, "nop")                                                                                              \
    OPERATION(trap, "trap")                                                                                            \
    OPERATION(ld, "ld")                                                                                                \
    OPERATION(st, "st")                                                                                                \
    OPERATION(atomic, "atom")                                                                                          \
    OPERATION(bar, "bar.sync")                                                                                         \
    OPERATION(bar_arrive, "bar.arrive")                                                                                \
    OPERATION(bar_red, "bar.red")                                                                                      \
    OPERATION(warp_sync, "bar.warp.sync")                                                                              \
    OPERATION(activemask, "activemask")                                                                                \
    OPERATION(elect, "elect.sync")                                                                                     \
    OPERATION(shfl, "shfl.sync")                                                                                       \
    OPERATION(vote, "vote.sync")                                                                                       \
    OPERATION(match, "match.any.sync")                                                                                 \
    OPERATION(redux, "redux.sync")                                                                                     \
    OPERATION(ldmatrix, "ldmatrix")                                                                                    \
    OPERATION(stmatrix, "stmatrix")                                                                                    \
    OPERATION(mma, "mma")                                                                                              \
    OPERATION(mma_integers, "mma.integers")                                                                            \
    OPERATION(mma_double, "mma.double")                                                                                \
    OPERATION(cp_async, "cp.async")                                                                                    \
    OPERATION(cp_commit, "cp.async.commit_group")                                                                      \
    OPERATION(cp_wait, "cp.async.wait_group")                                                                          \
    OPERATION(barrier_init, "mbarrier.init")                                                                           \
    OPERATION(barrier_expect, "mbarrier.arrive.expect_tx")                                                             \
    OPERATION(barrier_arrive, "mbarrier.arrive")                                                                       \
    OPERATION(barrier_test, "mbarrier.try_wait.parity")                                                                \
    OPERATION(bulk, "cp.async.bulk.tensor")                                                                            \
    OPERATION(wgmma, "wgmma.mma_async")                                                                                \
    OPERATION(wgmma_commit, "wgmma.commit_group")                                                                      \
    OPERATION(wgmma_wait, "wgmma.wait_group")

#define OPERATION(identifier, ...) OP_##identifier,
enum {
#include "arithmetic.inc"
    OTHERS
};
#undef OPERATION
#define OPERATION(identifier, name, ...) name,
const char *const ptx_operations[] = {
#include "arithmetic.inc"
    OTHERS 0};
#undef OPERATION

enum { POLLS_IN_VAIN = 100000 };

u32 predicate_bits(const unsigned char *rows, s32 row) {
    const u32 *p = (const u32 *)(rows + row);
    u32 bits = 0;
#if defined(__SSE__)
    for (int i = 0; i < 8; i++) bits |= (u32)_mm_movemask_ps(_mm_loadu_ps((const float *)p + 4 * i)) << 4 * i;
#else
    for (int l = 0; l < LANES; l++) bits |= (p[l] >> 31) << l;
#endif
    return bits;
}

// The lanes that go on: those of the lowest address that are not parked at a collective. 0: there are none.
static int choose(Warp *w) {
    int best = -1;
    for (int i = 0; i < w->split_count; i++)
        if (!w->splits[i].parked && (best < 0 || w->splits[i].pc < w->splits[best].pc)) best = i;
    if (best < 0) return 0;
    w->pc = w->splits[best].pc, w->mask = w->splits[best].mask;
    w->splits[best] = w->splits[--w->split_count];
    return 1;
}

static void set_aside(Warp *w, s64 pc, u32 mask, int parked) {
    for (int i = 0; i < w->split_count; i++)
        if (w->splits[i].pc == pc) {
            w->splits[i].mask |= mask;
            w->splits[i].parked &= parked;
            return;
        }
    w->splits[w->split_count++] = (Split){pc, mask, parked};
}

// After a step: lanes that wait at this address join, and those behind it catch up first.
static void join_splits(Warp *w) {
    for (int i = 0; i < w->split_count; i++) {
        Split *s = &w->splits[i];
        if (s->pc == w->pc && !s->parked) {
            w->mask |= s->mask;
            *s = w->splits[--w->split_count];
            i = -1;
        } else if (s->pc < w->pc && !s->parked) {
            const Split other = *s;
            *s = (Split){w->pc, w->mask, 0};
            w->pc = other.pc, w->mask = other.mask;
            i = -1;
        }
    }
}

int all_here(Machine *m, Warp *w, u32 wanted, const char *what) {
    if (w->mask == wanted) return 1;
    for (int i = 0; i < w->split_count; i++)
        if (w->splits[i].pc == w->pc) { // parked here before
            w->mask |= w->splits[i].mask;
            w->splits[i] = w->splits[--w->split_count];
            return all_here(m, w, wanted, what);
        }
    const u32 mask = w->mask;
    const s64 pc = w->pc;
    if (!choose(w)) fail(m, "divergent %s: lanes %08x are here, %08x are meant", what, mask, wanted);
    set_aside(w, pc, mask, 1);
    return 0;
}

#define EACH(...)                                                                                                      \
    if (mask == (u32)ALL_LANES) {                                                                                      \
        _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++) { __VA_ARGS__; }                                          \
    } else                                                                                                             \
        for (int l = 0; l < LANES; l++)                                                                                \
            if (mask >> l & 1) {                                                                                       \
                __VA_ARGS__;                                                                                           \
            }

// One access of every lane to each element of its vector.
#define MOVE(type, row)                                                                                                \
    EACH_LANE(l) {                                                                                                     \
        if (is_write)                                                                                                  \
            ((type *)p[l])[i] = (type)(row)[l];                                                                        \
        else                                                                                                           \
            (row)[l] = ((const type *)p[l])[i];                                                                        \
    }

// r: values, address; immediate: offset; count: space | elements << 8; size: bytes of one
static void load_store(Machine *m, Warp *w, const Instruction *in, u32 mask, int is_write) {
    const int space = in->count & 255, n = (int)(in->count >> 8);
    const u32 size = in->size;
    u64 address[LANES];
    unsigned char *p[LANES];
    if (in->narrow >> n & 1)
        for (int l = 0; l < LANES; l++) address[l] = ROW(u32, n)[l] + (u64)in->immediate;
    else
        for (int l = 0; l < LANES; l++) address[l] = ROW(u64, n)[l] + (u64)in->immediate;
    EACH_LANE(l) p[l] = place(m, space, address[l], size * (u32)n, l, is_write ? WRITE : READ);
    for (int i = 0; i < n; i++) {
        if (in->r[i] < 0) continue;
        u64 *wide = ROW(u64, i);
        u32 *row = ROW(u32, i);
        switch (size) {
        case 8: MOVE(u64, wide) break;
        case 4: MOVE(u32, row) break;
        case 2: MOVE(uint16_t, row) break;
        default: MOVE(unsigned char, row)
        }
    }
    count_access(m, space, address, mask, size * (u32)n);
}

enum { NEXT, AGAIN, JUMPED, WAITS, WAITS_PAST }; // what a step says of the warp

static int branch(Warp *w, const Instruction *in, u32 mask) {
    const u32 rest = w->mask & ~mask;
    if (rest) {
        set_aside(w, w->pc + 1, rest, 0);
        w->mask = mask;
    }
    w->pc = in->target;
    return JUMPED;
}

static int leave(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    land_copies(m, w, mask, -1);
    w->live &= ~mask, w->mask &= ~mask;
    if (!w->mask && !choose(w)) {
        if (w->live) fail(m, "divergent collective: lanes %08x wait for lanes that returned", w->live);
        w->state = FINISHED;
        return WAITS;
    }
    return in->guard < 0 ? JUMPED : NEXT;
}

// immediate: the barrier; count: threads, or 0 for all. bar.red has r: d, predicate; size: 0 and, 1 or, 2 popc.
static int block_barrier(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    if (!all_here(m, w, w->live, "barrier")) return AGAIN;
    w->barrier = (int)in->immediate, w->barrier_warps = (int)in->count / LANES, w->epoch++;
    if (in->op == OP_bar_arrive) {
        m->arrived[w->barrier]++;
        return NEXT;
    }
    w->reducing = in->op == OP_bar_red ? in : NULL;
    if (w->reducing) w->votes = __builtin_popcount(predicate_bits(w->rows, in->r[1]) & mask);
    w->state = AT_BARRIER;
    return WAITS_PAST;
}

static int poll(Machine *m, const char *what) { // a warp that would wait lets others run
    if (++m->idle > POLLS_IN_VAIN) fail(m, "deadlock: %s", what);
    return WAITS;
}

// What lanes do together, after all of `members` have come. A barrier of the warp orders its accesses.
#define TOGETHER(members, what, ...)                                                                                   \
    if (!all_here(m, w, (members) & w->live, what)) return AGAIN;                                                      \
    __VA_ARGS__;                                                                                                       \
    w->epoch++;                                                                                                        \
    return NEXT
#define MEMBERS(i) (ROW(u32, i)[__builtin_ctz(mask)])

static int step(Machine *m, Warp *w, const Instruction *in, u32 mask) {
    switch (in->op) {
#define OPERATION(identifier, name, ...)                                                                               \
    case OP_##identifier: __VA_ARGS__ return NEXT;
#include "arithmetic.inc"
#undef OPERATION
    case OP_bra: return branch(w, in, mask);
    case OP_ret: return leave(m, w, in, mask);
    case OP_nop: return NEXT;
    case OP_trap: fail(m, "trap");
    case OP_ld: load_store(m, w, in, mask, 0); return NEXT;
    case OP_st: load_store(m, w, in, mask, 1); return NEXT;
    case OP_atomic: atomic(m, w, in, mask); return NEXT;
    case OP_bar:
    case OP_bar_red:
    case OP_bar_arrive: return block_barrier(m, w, in, mask);
    case OP_warp_sync: TOGETHER(in->r[0] < 0 ? ~0u : MEMBERS(0), "bar.warp.sync", );
    case OP_activemask: EACH_LANE(l) ROW(u32, 0)[l] = mask; return NEXT;
    case OP_elect:
        EACH_LANE(l) {
            ROW(u32, 1)[l] = l == __builtin_ctz(mask) ? ~0u : 0;
            if (in->r[0] >= 0) ROW(u32, 0)[l] = (u32)__builtin_ctz(mask);
        }
        return NEXT;
    case OP_shfl: TOGETHER(MEMBERS(5), "shuffle", shuffle(m, w, in, mask));
    case OP_vote: TOGETHER(MEMBERS(2), "vote", vote(m, w, in, mask));
    case OP_match: TOGETHER(MEMBERS(2), "match", match_any(m, w, in, mask));
    case OP_redux: TOGETHER(MEMBERS(2), "redux", reduce(m, w, in, mask));
    case OP_ldmatrix: TOGETHER(~0u, "ldmatrix", load_matrix(m, w, in, mask));
    case OP_stmatrix: TOGETHER(~0u, "stmatrix", store_matrix(m, w, in, mask));
    case OP_mma: TOGETHER(~0u, "mma", multiply(w, in));
    case OP_mma_integers: TOGETHER(~0u, "mma", multiply_integers(w, in));
    case OP_mma_double: TOGETHER(~0u, "mma", multiply_double(w, in));
    case OP_cp_async: copy_async(m, w, in, mask); return NEXT;
    case OP_cp_commit: EACH_LANE(l) w->group[l]++; return NEXT;
    case OP_cp_wait: land_copies(m, w, mask, in->immediate); return NEXT;
    case OP_barrier_init: barrier_init(m, w, in, mask); return NEXT;
    case OP_barrier_expect: barrier_expect(m, w, in, mask); return NEXT;
    case OP_barrier_arrive: barrier_arrive(m, w, in, mask); return NEXT;
    case OP_barrier_test:
        if (barrier_test(m, w, in, mask)) return NEXT;
        w->pc++;
        return poll(m, "an mbarrier is waited for in vain");
    case OP_bulk: bulk_tensor(m, w, in, mask); return NEXT;
    case OP_wgmma: TOGETHER(~0u, "wgmma", issue_product(m, w, in));
    case OP_wgmma_commit: w->product_group++; return NEXT;
    case OP_wgmma_wait:
        return land_products(m, w, in->immediate) ? NEXT : poll(m, "a wgmma that not all four warps issue");
    default: fail(m, "operation %u", in->op);
    }
}

void run_warp(Machine *m, Warp *w) {
    for (;;) {
        const Instruction *in = m->l->code + w->pc;
        u32 mask = w->mask;
        m->at = w->pc;
        if (in->guard >= 0) mask &= predicate_bits(w->rows, in->guard) ^ (in->negated ? ~0u : 0u);
        m->l->executed[w->pc]++;
        m->l->lanes[w->pc] += (u64)__builtin_popcount(mask);
        switch (mask ? step(m, w, in, mask) : NEXT) {
        case AGAIN: continue;
        case WAITS: return;
        case WAITS_PAST: w->pc++; return;
        case NEXT: w->pc++; break;
        default: break;
        }
        if (w->split_count) join_splits(w);
    }
}
