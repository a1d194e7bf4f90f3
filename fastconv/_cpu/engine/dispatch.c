/* Picks the ISA level for this CPU. Compiled with the lowest level's flags: it runs everywhere. */
#include "dispatch.h"

#include <string.h>

#include "isa/tile_permission.h"
#include "job.h"

const char *isa_level_name(int64_t level) {
    static const char *const names[] = {
#define LEVEL(identifier, name, flags, test) name,
#include "isa/levels.h"
#undef LEVEL
    };
    return level >= 0 && level < (int64_t)(sizeof names / sizeof names[0]) ? names[level] : NULL;
}

int isa_level_is_usable(int64_t level) {
    int64_t index = 0;
    if (isa_level_name(level) == NULL || kernels_at(level, 0) == NULL) return 0;
#ifdef __x86_64__
    __builtin_cpu_init();
#endif
#define LEVEL(identifier, name, flags, test)                                                                           \
    if (index++ == level) return (test) != 0;
#include "isa/levels.h"
#undef LEVEL
    return 0;
}

int64_t isa_level_of(const char *max_isa) {
    int64_t level = 0;
    while (isa_level_name(level) != NULL && (max_isa == NULL || strcmp(isa_level_name(level), max_isa) != 0)) level++;
    if (isa_level_name(level) == NULL) {
        if (max_isa != NULL) return -1;
        level--;
    }
    while (level > 0 && !isa_level_is_usable(level)) level--;
    return level;
}
