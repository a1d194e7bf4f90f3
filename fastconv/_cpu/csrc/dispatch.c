/* Picks the kernel table for this CPU. Compiled with the baseline's flags: it runs everywhere. */
#include <cpuid.h>
#include <stddef.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/* Whether the CPU has AMX-TILE and AMX-BF16 and the kernel lets this process use the tile registers. */
static int tiles_are_usable(void) {
#if defined(EMULATED_TILES)
    return 1;
#elif defined(__linux__) && defined(SYS_arch_prctl)
    const unsigned tile_bits = 1u << 22 | 1u << 24, request_permission = 0x1023, tile_data = 18;
    static int is_permitted = -1;
    unsigned a, b, c, d;
    if (is_permitted < 0)
        is_permitted = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tile_bits) == tile_bits &&
                       syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return is_permitted;
#else
    return 0;
#endif
}

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
