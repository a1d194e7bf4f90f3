/* Memory that will be read soon, asked for a few lines at a time while something else is computed. */
#ifndef FASTCONV_PREFETCH_H
#define FASTCONV_PREFETCH_H

#include <stdint.h>

#define LINE_BYTES 64

typedef struct {
    const char *run; /* runs of neighbouring lines, `step` bytes apart */
    int64_t step;
    int64_t runs; /* left */
    int64_t lines;
    int64_t line; /* the next one of the run */
    int64_t share;
} prefetch_t;

/* The next `share` lines, into the second-level cache. */
static inline void ask_for_share(prefetch_t *p) {
    for (int64_t i = 0; i < p->share && p->runs > 0; i++) {
        __builtin_prefetch(p->run + p->line * LINE_BYTES, 0, 2);
        if (++p->line < p->lines) continue;
        p->line = 0;
        p->run += p->step;
        p->runs--;
    }
}

#endif
