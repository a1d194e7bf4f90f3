// One scheduler of a multiprocessor, cycle by cycle: see scheduler.py, which makes the steps.
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BOARDS = 6, KEPT = 64, PLAIN = 0, BARRIER, COPY, COPIES_END, WAIT_COPIES };

typedef struct { // of an instruction; mirrored in scheduler.py
    double cycles, latency;
    int pipe, stall, write, read, wait, kind;
    int board, keep; // of WAIT_COPIES: so many may be left
} Step;

typedef struct { // when what a scoreboard counts is done
    double at[KEPT];
    int count;
} Board;

typedef struct {
    Board boards[BOARDS];
    double ready, copied; // copied: when the last asynchronous copy is there
    long at;
    int block, blocked;
} Warp;

typedef struct {
    const Step *steps;
    const int *path;
    long length;
    int warps, block_warps, blocks, pipes, queued; // queued: the pipe that has a queue
    double queue_cycles, barrier_cycles, read_cycles;
    double *lost; // cycles in which nothing was issued, by the step that was waited for
} Run;

static double latest(const Board *b) {
    double most = 0;
    for (int i = 0; i < b->count; i++) most = fmax(most, b->at[i]);
    return most;
}

static void count_in(Board *b, double done) {
    if (b->count < KEPT) {
        b->at[b->count++] = done;
        return;
    }
    int first = 0;
    for (int i = 1; i < KEPT; i++)
        if (b->at[i] < b->at[first]) first = i;
    b->at[first] = fmax(b->at[first], done);
}

// When all but `keep` are done.
static double all_but(Board *b, int keep) {
    double sorted[KEPT];
    memcpy(sorted, b->at, sizeof(double) * (size_t)b->count);
    for (int i = 1; i < b->count; i++)
        for (int j = i; j > 0 && sorted[j] < sorted[j - 1]; j--) {
            const double t = sorted[j];
            sorted[j] = sorted[j - 1], sorted[j - 1] = t;
        }
    return b->count > keep ? sorted[b->count - keep - 1] : 0;
}

static double start_of(const Run *r, const double *pipes, Warp *w) {
    const Step *s = &r->steps[r->path[w->at]];
    double start = fmax(w->ready, pipes[s->pipe] - (s->pipe == r->queued ? r->queue_cycles : 0));
    for (int i = 0; i < BOARDS; i++)
        if (s->wait >> i & 1) start = fmax(start, latest(&w->boards[i]));
    return s->kind == WAIT_COPIES ? fmax(start, all_but(&w->boards[s->board], s->keep)) : start;
}

static void meet(const Run *r, Warp *warps, Warp *w, double now) {
    w->blocked = 1;
    int arrived = 0;
    for (int i = 0; i < r->warps; i++) arrived += warps[i].blocked && warps[i].block == w->block;
    if (arrived < r->block_warps) return;
    for (int i = 0; i < r->warps; i++)
        if (warps[i].block == w->block) {
            if (warps[i].blocked) warps[i].ready = now + r->barrier_cycles;
            warps[i].blocked = 0;
        }
}

static void issue(const Run *r, Warp *warps, double *pipes, Warp *w, double now) {
    const Step *s = &r->steps[r->path[w->at]];
    for (int i = 0; i < BOARDS; i++)
        if (s->wait >> i & 1) w->boards[i].count = 0;
    double *pipe = &pipes[s->pipe]; // one that has had no pause goes on within the cycle
    *pipe = (*pipe > now - 1 ? *pipe : now) + s->cycles;
    const double done = *pipe + s->latency;
    if (s->kind == COPY) w->copied = fmax(w->copied, done);
    if (s->kind == COPIES_END)
        count_in(&w->boards[0], fmax(w->copied, now));
    else if (s->write < BOARDS)
        count_in(&w->boards[s->write], done);
    if (s->read < BOARDS) count_in(&w->boards[s->read], *pipe + r->read_cycles);
    w->ready = now + (s->stall > 1 ? s->stall : 1);
    w->at++;
    if (s->kind == BARRIER) meet(r, warps, w, now);
}

// Cycles until all warps have issued all that is on the path.
double run_scheduler(const Run *r) {
    Warp *warps = calloc((size_t)r->warps, sizeof *warps);
    double *pipes = calloc((size_t)r->pipes, sizeof *pipes), now = 0;
    for (int i = 0; i < r->warps; i++) warps[i].block = i % r->blocks;
    int left = r->length ? r->warps : 0, last = 0;
    while (left) {
        Warp *chosen = NULL;
        double wake = INFINITY;
        int first = 0;
        for (int k = 0; k < r->warps && !chosen; k++) { // the last one goes on while it can
            const int i = (last + k) % r->warps;
            Warp *w = &warps[i];
            if (w->blocked || w->at >= r->length) continue;
            const double start = start_of(r, pipes, w);
            if (start <= now)
                chosen = w, last = i;
            else if (start < wake)
                wake = start, first = r->path[w->at];
        }
        if (!chosen) {
            const double then = fmax(now + 1, ceil(wake));
            if (isinf(wake)) break; // a barrier that not all reach
            r->lost[first] += then - now;
            now = then;
            continue;
        }
        issue(r, warps, pipes, chosen, now++);
        left -= chosen->at == r->length;
    }
    free(warps), free(pipes);
    return now;
}
