/* fastconv/_cpu/engine/threads.c under a race detector: callers side by side, loops inside of loops, loops that are
 * stopped, and forks in the middle of a loop. Every item must be computed once, by a slot that no other thread has at
 * that time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "threads.h"

#define ITEMS 200
#define THREADS 4
#define ROUNDS 200

typedef struct {
    int count[ITEMS]; /* plain: two threads at one item are a race */
    int looks, stop_at, fork_at, inner, failed;
} check_t;

static int check(int caller, int inner);

static void item(const void *job, int64_t number, void *scratch) {
    int *slot = (int *)scratch; /* plain as well: two threads in one slot are a race */
    for (int i = 0; i < 50; i++) slot[i % 4]++;
    ((check_t *)job)->count[number]++;
}

static int look(void *about) {
    check_t *c = (check_t *)about;
    const int now = ++c->looks;
    if (c->inner && now == 2) c->failed |= check(0, 0);
    if (now == c->fork_at) {
        const pid_t child = fork();
        if (child == 0) return 0; /* the child finishes the loop, and ends after it */
        int status = 1;
        waitpid(child, &status, 0);
        c->failed |= status != 0;
    }
    return now == c->stop_at;
}

/* One loop; whether something was wrong. */
static int check(int caller, int inner) {
    const pid_t parent = getpid();
    check_t c = {.inner = inner, .stop_at = caller == 1 ? 3 : 0, .fork_at = caller == 2 ? 2 : 0};
    char scratch[THREADS][64];
    memset(scratch, 0, sizeof scratch);
    const int stopped = threads_loop(item, &c, ITEMS, scratch[0], 64, THREADS, look, &c);
    int wrong = c.failed;
    for (int i = 0; i < ITEMS; i++) wrong |= stopped ? c.count[i] > 1 : c.count[i] != 1;
    if (getpid() != parent) _exit(wrong);
    return wrong;
}

static void *call(void *caller) {
    for (int round = 0; round < ROUNDS; round++)
        if (check((int)(long)caller, round % 7 == 0)) return "wrong";
    return NULL;
}

int main(int argc, char **argv) {
    const int forks = argc > 1 && strcmp(argv[1], "forks") == 0;
    pthread_t callers[4];
    const int count = forks ? 3 : 2;
    int wrong = 0;
    for (long i = 0; i < count; i++) pthread_create(&callers[i], NULL, call, (void *)i);
    for (int i = 0; i < count; i++) {
        void *message;
        pthread_join(callers[i], &message);
        wrong |= message != NULL;
    }
    printf("%s, %d kept\n", wrong ? "wrong" : "right", (int)threads_kept());
    return wrong;
}
