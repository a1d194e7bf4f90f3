/* Parallel loops over work items, on threads that are started once and kept.
 *
 * Why not OpenMP: its runtime ends the process where the system refuses it a thread, its idle threads spin (processes
 * side by side take each other's cores), and a process forked in the middle of a loop can never finish it. Here a loop
 * runs on the threads that it gets, be it the calling one alone: items are handed out one by one, and a thread that
 * comes late, or not at all, is not waited for.
 *
 * A fork waits for the items that other threads compute for loops of the forking thread. The child has the forking
 * thread alone, which finishes these loops; loops that it begins start threads of the child's own. */
#ifndef FASTCONV_THREADS_H
#define FASTCONV_THREADS_H

#include "correlation.h"

/* Looks after what the caller has to, between two of its own items; whether to stop. */
typedef int (*look_fn)(void *about);

/* Calls fn(job, item, scratch + slot * scratch_bytes) for every item in [0, items), on `threads` threads at most, each
 * with a slot of its own below `threads`; the caller, who has slot 0, takes part. Loops that are under way at the same
 * time share that number. Returns whether `look` stopped the loop, of which some items are then not computed. */
int threads_loop(item_fn fn, const void *job, int64_t items, char *scratch, int64_t scratch_bytes, int64_t threads,
                 look_fn look, void *about);

/* Calls fn(about) on so many threads at most, the caller being one, and returns when all have: libgomp's GOMP_parallel,
 * whose flags are 0. */
typedef void (*team_fn)(void (*fn)(void *), void *about, unsigned threads, unsigned flags);

/* Has loops run on the team of another library, NULL: on own threads again. For a process whose other library keeps its
 * threads busy between its own loops: beside them, ours would get half a core each. A child has no team, and own
 * threads. */
void threads_borrow(team_fn team);

/* Threads that are kept, without those that call. */
int64_t threads_kept(void);

#endif
