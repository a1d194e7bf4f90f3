/* See threads.h. One lock guards all that is shared but the next item of a loop, which is taken without it. */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "integers.h"

#define STACK_BYTES (1 << 20) /* many times what a kernel takes */
/* A thread looks for more work, and a caller for the end of its loop, so long before it sleeps: longer than the Python
 * between two calls takes, shorter than another process would notice. */
#define SPIN_SECONDS 20e-6
#define REFUSED_SECONDS 1.0 /* until the system is asked for a thread again */

typedef struct loop {
    item_fn fn;
    const void *job;
    int64_t items;
    char *scratch;
    int64_t scratch_bytes;
    _Atomic int64_t next; /* the first item that nobody has taken */
    atomic_int stopped;   /* no more items are to be taken: for good, or while `owner` forks */
    int64_t slots;
    int64_t used_slots;     /* guarded */
    _Atomic int64_t inside; /* kept threads that are in the loop; changed under the lock */
    pthread_t owner;
    struct loop *below; /* loops under way, the newest first */
    /* Of a loop on a borrowed team: */
    int is_borrowed;
    _Atomic int64_t next_slot; /* the first that no thread of the team has */
    int is_orphan;             /* in a child: the team has stayed with the parent */
    look_fn look;              /* the caller's, as in threads_loop */
    void *about;
    int was_stopped;
    jmp_buf way_out;
} loop_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER; /* a loop wants threads */
static pthread_cond_t left = PTHREAD_COND_INITIALIZER; /* the last thread inside of a loop went */
static loop_t *loops;
static _Atomic int64_t wanted; /* slots of all loops that no thread has; changed under the lock */
static _Atomic int64_t kept;   /* threads; changed under the lock */
static int64_t sleeping;       /* of them, on `work` */
static int64_t entered;        /* loops under way, those of one thread included */
static double refused_at = -REFUSED_SECONDS;
static _Atomic(team_fn) team;           /* that is borrowed */
static int is_child;                    /* of a fork: no team came along */
static _Thread_local int64_t own_depth; /* of `entered`, loops of this thread */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits, busily and not for long, until *value is (not) 0. */
static void spin_until(_Atomic int64_t *value, int nonzero) {
    const double end = seconds() + SPIN_SECONDS;
    do {
        for (int i = 0; i < 32; i++) {
            if ((atomic_load_explicit(value, memory_order_relaxed) != 0) == nonzero) return;
            relax();
        }
    } while (seconds() < end);
}

/* Computes the next item for a slot; 0: there is none left to take. */
static int compute_next(loop_t *loop, int64_t slot) {
    if (atomic_load_explicit(&loop->stopped, memory_order_relaxed)) return 0;
    const int64_t item = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
    if (item >= loop->items) return 0;
    loop->fn(loop->job, item, loop->scratch + slot * loop->scratch_bytes);
    return 1;
}

/* Opens (closes) a loop to threads that are not inside. Under the lock. */
static void set_wanted(loop_t *loop, int64_t slots) {
    atomic_fetch_add_explicit(&wanted, slots - (loop->slots - loop->used_slots), memory_order_relaxed);
    loop->used_slots = loop->slots - slots;
}

/* The newest loop that wants a thread. Under the lock. */
static loop_t *open_loop(void) {
    loop_t *loop = loops;
    while (loop != NULL && loop->used_slots == loop->slots) loop = loop->below;
    return loop;
}

static void *keep_working(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        loop_t *loop = open_loop();
        if (loop == NULL) {
            pthread_mutex_unlock(&lock);
            spin_until(&wanted, 1);
            pthread_mutex_lock(&lock);
            sleeping++;
            while (atomic_load_explicit(&wanted, memory_order_relaxed) == 0) pthread_cond_wait(&work, &lock);
            sleeping--;
            continue;
        }
        const int64_t slot = loop->used_slots;
        set_wanted(loop, loop->slots - slot - 1);
        atomic_fetch_add_explicit(&loop->inside, 1, memory_order_relaxed);
        pthread_mutex_unlock(&lock);
        while (compute_next(loop, slot)) continue;
        pthread_mutex_lock(&lock);
        if (atomic_fetch_sub_explicit(&loop->inside, 1, memory_order_release) == 1) pthread_cond_broadcast(&left);
    }
    return NULL;
}

/* Starts a thread; whether the system granted it. It is deaf to signals, which are the interpreter's. Under the lock.
 */
static int start_thread(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_attr_init(&attributes) != 0) return 0;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int granted = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                        pthread_create(&thread, &attributes, keep_working, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return granted;
}

/* Has `loop` seen by kept threads, of which there will be enough for it alone, if the system grants them. Under the
 * lock. */
static void open_to_others(loop_t *loop) {
    set_wanted(loop, loop->slots - 1);
    while (kept < loop->slots - 1 && seconds() - refused_at >= REFUSED_SECONDS) {
        if (start_thread())
            atomic_fetch_add_explicit(&kept, 1, memory_order_relaxed);
        else
            refused_at = seconds();
    }
    if (sleeping < loop->slots)
        pthread_cond_broadcast(&work);
    else
        for (int64_t i = 1; i < loop->slots; i++) pthread_cond_signal(&work);
}

/* Waits for the threads inside of a loop that no other can enter. Under the lock. */
static void wait_for_others(loop_t *loop) {
    while (atomic_load_explicit(&loop->inside, memory_order_acquire) > 0) pthread_cond_wait(&left, &lock);
}

/* A fork: loops of the forking thread stand still, with whole items computed, and the lock is held. */
static void before_fork(void) {
    pthread_mutex_lock(&lock);
    for (loop_t *loop = loops; loop != NULL; loop = loop->below)
        if (pthread_equal(loop->owner, pthread_self())) {
            set_wanted(loop, 0);
            atomic_fetch_add_explicit(&loop->stopped, 1, memory_order_relaxed);
            wait_for_others(loop);
        }
}

static void after_fork_in_parent(void) {
    for (loop_t *loop = loops; loop != NULL; loop = loop->below)
        if (pthread_equal(loop->owner, pthread_self())) {
            atomic_fetch_sub_explicit(&loop->stopped, 1, memory_order_relaxed);
            if (!loop->is_borrowed) open_to_others(loop);
        }
    pthread_mutex_unlock(&lock);
}

/* The child has the forking thread alone, and of the loops its own. */
static void after_fork_in_child(void) {
    loop_t **link = &loops;
    while (*link != NULL) {
        loop_t *loop = *link;
        if (!pthread_equal(loop->owner, pthread_self())) {
            *link = loop->below;
            continue;
        }
        atomic_fetch_sub_explicit(&loop->stopped, 1, memory_order_relaxed);
        loop->is_orphan = loop->is_borrowed;
        link = &loop->below;
    }
    atomic_store_explicit(&team, NULL, memory_order_relaxed);
    is_child = 1;
    wanted = kept = sleeping = 0;
    entered = own_depth;
    work = left = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pthread_mutex_unlock(&lock);
}

/* The caller's part of a loop; whether `look` stopped it. */
static int compute_as_caller(loop_t *loop, look_fn look, void *about) {
    int stopped = 0;
    while (!stopped && compute_next(loop, 0)) stopped = look(about);
    if (stopped) atomic_fetch_add_explicit(&loop->stopped, 1, memory_order_relaxed);
    return stopped;
}

/* What each thread of a borrowed team does. A child whose team stayed behind leaves the region without waiting for it.
 */
static void take_part(void *shared) {
    loop_t *loop = shared;
    if (pthread_equal(loop->owner, pthread_self())) {
        loop->was_stopped = compute_as_caller(loop, loop->look, loop->about);
        if (loop->is_orphan) longjmp(loop->way_out, 1);
        return;
    }
    const int64_t slot = atomic_fetch_add_explicit(&loop->next_slot, 1, memory_order_relaxed);
    pthread_mutex_lock(&lock);
    atomic_fetch_add_explicit(&loop->inside, 1, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    while (slot < loop->slots && compute_next(loop, slot)) continue;
    pthread_mutex_lock(&lock);
    if (atomic_fetch_sub_explicit(&loop->inside, 1, memory_order_release) == 1) pthread_cond_broadcast(&left);
    pthread_mutex_unlock(&lock);
}

void threads_borrow(team_fn other) {
    if (!is_child) atomic_store_explicit(&team, other, memory_order_relaxed);
}

static void handle_forks(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

int threads_loop(item_fn fn, const void *job, int64_t items, char *scratch, int64_t scratch_bytes, int64_t threads,
                 look_fn look, void *about) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, handle_forks);
    loop_t loop = {fn, job, items, scratch, scratch_bytes, .owner = pthread_self(), .look = look, .about = about};
    int stopped = 0;
    pthread_mutex_lock(&lock);
    const team_fn borrowed = atomic_load_explicit(&team, memory_order_relaxed);
    own_depth++;
    loop.slots = loop.used_slots = max64(min64(threads / ++entered, items), 1);
    loop.below = loops;
    loops = &loop;
    loop.is_borrowed = borrowed != NULL && loop.slots > 1;
    atomic_init(&loop.next_slot, 1);
    if (loop.slots > 1 && !loop.is_borrowed) open_to_others(&loop);
    pthread_mutex_unlock(&lock);
    if (!loop.is_borrowed)
        stopped = compute_as_caller(&loop, look, about);
    else {
        if (!setjmp(loop.way_out)) borrowed(take_part, &loop, (unsigned)loop.slots, 0);
        stopped = loop.was_stopped;
    }
    pthread_mutex_lock(&lock);
    set_wanted(&loop, 0);
    if (atomic_load_explicit(&loop.inside, memory_order_relaxed) > 0) {
        pthread_mutex_unlock(&lock);
        spin_until(&loop.inside, 0);
        pthread_mutex_lock(&lock);
        wait_for_others(&loop);
    }
    loop_t **link = &loops;
    while (*link != &loop) link = &(*link)->below;
    *link = loop.below;
    entered--;
    own_depth--;
    pthread_mutex_unlock(&lock);
    return stopped;
}

int64_t threads_kept(void) { return atomic_load_explicit(&kept, memory_order_relaxed); }
