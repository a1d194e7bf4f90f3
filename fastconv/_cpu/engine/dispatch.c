/* Picks the kernel table for this CPU. Compiled with the baseline's flags: it runs everywhere. */
#include <stddef.h>
#include <string.h>

#include "isa/tile_permission.h"
#include "kernels.h"

#define LEVEL(identifier, test) extern const kernels_t fastconv_kernels_##identifier;
#include "isa/levels.h"
#undef LEVEL

static const kernels_t *const levels[] = {
#define LEVEL(identifier, test) &fastconv_kernels_##identifier,
#include "isa/levels.h"
#undef LEVEL
};

static const int64_t level_count = (int64_t)(sizeof levels / sizeof levels[0]);

const char *kernels_level_name(int64_t level) { return level >= 0 && level < level_count ? levels[level]->name : NULL; }

int kernels_level_usable(int64_t level) {
    int64_t index = 0;
    if (level >= 0 && level < level_count && levels[level]->float32 == NULL) return 0; /* not compiled */
    __builtin_cpu_init();
#define LEVEL(identifier, test)                                                                                        \
    if (index++ == level) return (test) != 0;
#include "isa/levels.h"
#undef LEVEL
    return 0;
}

const kernels_t *kernels_select(const char *max_isa) {
    int64_t highest = level_count - 1;
    if (max_isa != NULL) {
        while (highest >= 0 && strcmp(levels[highest]->name, max_isa) != 0) highest--;
        if (highest < 0) return NULL;
    }
    while (highest > 0 && !kernels_level_usable(highest)) highest--;
    return levels[highest];
}
