// The execution of a block and of a launch: warps in turn, barriers of the block, where all ends in an error.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "machine.h"

enum { MAX_WARPS = 32, POISON = 0xff };

void fail(Machine *m, const char *format, ...) {
    char text[300];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(m->l->message, 512, "%s; PTX line %u, block (%u, %u, %u), warp %d", text, m->l->code[m->at].line,
             m->block[0], m->block[1], m->block[2], m->w ? m->w->index : -1);
    longjmp(m->escape, 1);
}

static u32 special_value(const Machine *m, int which, u32 warp, u32 lane) {
    const Launch *l = m->l;
    const u32 t = LANES * warp + lane, x = l->block[0], y = l->block[1];
    const u32 thread[3] = {t % x, t / x % y, t / (x * y)};
    if (which < 3) return thread[which];
    if (which < 6) return l->block[which - 3];
    if (which < 9) return m->block[which - 6];
    if (which < 12) return l->grid[which - 9];
    switch (which) {
    case 12: return lane;
    case 13: return warp;
    case 14: return (u32)m->warp_count;
    case 15: return 1u << lane;       // %lanemask_eq
    case 16: return (1u << lane) - 1; // lt
    case 17: return (2u << lane) - 1; // le
    case 18: return ~((2u << lane) - 1);
    case 19: return ~((1u << lane) - 1);
    case 20: return (u32)l->dynamic_shared;
    default: return (u32)m->shared_bytes;
    }
}

// Everything that the block has not written is poison: NaN in any format.
static void start_warp(Machine *m, Warp *w, int index) {
    const Launch *l = m->l;
    const u32 threads = l->block[0] * l->block[1] * l->block[2], first = (u32)(LANES * index);
    memcpy(w->rows, l->constants, (size_t)l->constant_bytes);
    memset(w->rows + l->constant_bytes, POISON, (size_t)(l->row_bytes - l->constant_bytes));
    memset(w->local, POISON, (size_t)l->local_bytes * LANES);
    w->pc = 0, w->split_count = 0, w->state = RUNNABLE, w->copy_count = 0, w->index = index;
    w->product_count = 0, w->product_group = 0, w->issued = 0;
    w->live = w->mask = threads - first >= LANES ? ~0u : (1u << (threads - first)) - 1;
    memset(w->group, 0, sizeof w->group);
    for (int s = 0; s < SPECIAL_REGISTERS; s++)
        if (l->special[s] >= 0)
            for (u32 lane = 0; lane < LANES; lane++)
                ((u32 *)(w->rows + l->special[s]))[lane] = special_value(m, s, (u32)index, lane);
}

static u32 random_below(Machine *m, u32 n) {
    m->random ^= m->random << 13, m->random ^= m->random >> 7, m->random ^= m->random << 17;
    return (u32)((m->random >> 32) * n >> 32);
}

// Runs every warp that can run until it waits; how many have finished.
static int run_each(Machine *m) {
    int runnable = 0, finished = 0, order[MAX_WARPS];
    for (int i = 0; i < m->warp_count; i++)
        if (m->warps[i].state == RUNNABLE) order[runnable++] = i;
    if (m->random)
        for (int i = runnable - 1; i > 0; i--) {
            const int j = (int)random_below(m, (u32)i + 1), t = order[i];
            order[i] = order[j], order[j] = t;
        }
    for (int i = 0; i < runnable; i++) {
        m->w = &m->warps[order[i]];
        run_warp(m, m->w);
        finished += m->w->state == FINISHED;
    }
    return finished;
}

// Every lane gets what the predicates of all waiting lanes come to.
static void give_reduction(Warp *w, int votes, int lanes) {
    const Instruction *in = w->reducing;
    const u32 value = in->size == 2 ? (u32)votes : (in->size == 0 ? votes == lanes : votes > 0) ? ~0u : 0;
    for (int l = 0; l < LANES; l++)
        if (w->mask >> l & 1) ROW(u32, 0)[l] = value;
}

static void open_barrier(Machine *m, int id, int votes, int lanes) {
    for (int i = 0; i < m->warp_count; i++) {
        Warp *w = &m->warps[i];
        if (w->state != AT_BARRIER || w->barrier != id) continue;
        w->state = RUNNABLE;
        if (w->reducing) give_reduction(w, votes, lanes);
    }
    m->arrived[id] = 0;
    m->epoch++;
}

// Lets the warps go on whose barrier is complete. One of all warps waits for those only that have not finished.
static void open_barriers(Machine *m, int left) {
    for (int id = 0; id < BARRIERS; id++) {
        int waiting = 0, wanted = left, votes = 0, lanes = 0;
        for (int i = 0; i < m->warp_count; i++) {
            const Warp *w = &m->warps[i];
            if (w->state != AT_BARRIER || w->barrier != id) continue;
            waiting++, votes += w->votes, lanes += __builtin_popcount(w->mask);
            if (w->barrier_warps) wanted = w->barrier_warps;
        }
        if (waiting && waiting + m->arrived[id] == wanted) open_barrier(m, id, votes, lanes);
    }
}

static void run_block(Machine *m) {
    m->epoch++, m->bulk_count = 0, m->idle = 0, m->block_number++, m->touched.used = 0;
    memset(m->arrived, 0, sizeof m->arrived);
    memset(m->shared, POISON, (size_t)m->shared_bytes);
    for (int i = 0; i < m->warp_count; i++) start_warp(m, &m->warps[i], i);
    for (int left = m->warp_count; left;) {
        left -= run_each(m);
        open_barriers(m, left);
        int runs = 0;
        for (int i = 0; i < m->warp_count; i++) runs |= m->warps[i].state == RUNNABLE;
        if (left && !runs) fail(m, "deadlock: %d warps wait at barriers that others do not reach", left);
    }
}

static void run_blocks(Machine *m) {
    const Launch *l = m->l;
    const s64 blocks = (s64)l->grid[0] * l->grid[1] * l->grid[2];
#if defined(__SSE__)
    const unsigned mode = _mm_getcsr();
    if (l->flush_subnormals) _mm_setcsr(mode | 0x8040);
#endif
    if (setjmp(m->escape) == 0)
        for (s64 i = l->first_block; i < blocks; i += l->block_step) {
            const s64 b = l->seed & 1 ? blocks - 1 - i : i; // no block may count on those before it
            m->block[0] = (u32)(b % l->grid[0]), m->block[1] = (u32)(b / l->grid[0] % l->grid[1]);
            m->block[2] = (u32)(b / ((s64)l->grid[0] * l->grid[1]));
            run_block(m);
        }
#if defined(__SSE__)
    _mm_setcsr(mode);
#endif
}

// Runs every `block_step`th block of the launch. 0: without an error.
int ptx_launch(const Launch *l) {
    const u32 threads = l->block[0] * l->block[1] * l->block[2];
    Machine machine = {.l = l, .shared_bytes = l->static_shared + l->dynamic_shared, .random = l->seed}, *m = &machine;
    const size_t marks = ((size_t)m->shared_bytes >> l->mark_shift) + 16;
    m->warp_count = (int)((threads + LANES - 1) / LANES);
    m->warps = calloc((size_t)m->warp_count, sizeof *m->warps);
    m->shared = aligned_alloc(1024, (size_t)(m->shared_bytes + 1023) / 1024 * 1024 + 1024);
    m->writes = calloc(marks, sizeof(Mark));
    m->reads = calloc(marks, sizeof(Mark));
    for (int i = 0; i < m->warp_count; i++) {
        m->warps[i].rows = aligned_alloc(64, (size_t)(l->row_bytes + 63) / 64 * 64 + 64);
        m->warps[i].local = malloc((size_t)l->local_bytes * LANES + 1);
    }
    l->message[0] = 0;
    run_blocks(m);
    for (int i = 0; i < m->warp_count; i++) free(m->warps[i].rows), free(m->warps[i].local), free(m->warps[i].copies);
    free(m->warps), free(m->shared), free(m->writes), free(m->reads), free(m->touched.entries);
    return l->message[0] != 0;
}
