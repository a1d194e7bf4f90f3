/* Linux lets a process use the tile registers of AMX when it has asked, once and for all its threads. */
#ifndef FASTCONV_TILE_PERMISSION_H
#define FASTCONV_TILE_PERMISSION_H

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef __x86_64__
/* Whether the CPU has AMX-TILE and AMX-BF16 and the kernel lets this process use the tile registers. */
static int tiles_are_usable(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    const unsigned tile_bits = 1u << 22 | 1u << 24, request_permission = 0x1023, tile_data = 18;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tile_bits) == tile_bits &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return 0;
#endif
}
#endif

#endif
