/* What a room's unit.c is made of. setup.py compiles each once per ISA level, with that level's flags and
 * -DISA_LEVEL=<identifier>; of all that is in it only the table is seen outside, so that no wide code leaks into other
 * levels. A unit includes its job.h and this; then
 *
 *     #define REAL_KERNELS "kernels.h"
 *     #include "each_real.h"
 *
 * if its kernels are written once for all real types. UNIT_IS_COMPILED is 0 where the compiler does not know the
 * level's instructions, and where the level has a base, whose tables are taken instead: then nothing else is in the
 * unit. A room with kernels of those levels alone defines OF_LEVELS_WITH_A_BASE before. */
#include <math.h>
#include <string.h>

#include "prefetch.h"

/* A vector used twice is loaded once: the compiler would rather read it from memory in both instructions. */
#if defined(__x86_64__)
#define LOADED_ONCE(vector) __asm__("" : "+v"(vector))
#elif defined(__aarch64__)
#define LOADED_ONCE(vector) __asm__("" : "+w"(vector))
#else
#define LOADED_ONCE(vector) (void)(vector)
#endif
/* X of every number of rows that a register tile has. */
/* clang-format off */
#if TILE_ROWS == 14
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
/* clang-format on */
/* For functions that are specialised by constant arguments. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* For what many such functions share and seldom run, or run long: code that exists once. */
#ifdef __clang__
#define ONE_COPY static __attribute__((noinline))
#else
#define ONE_COPY static __attribute__((noinline, noclone))
#endif

#ifdef NOT_COMPILED
#define UNIT_IS_COMPILED 0
const kernels_t *const *const TABLES(ISA_LEVEL) = NULL;
#elif defined(OF_LEVELS_WITH_A_BASE) && !defined(ISA_BASE)
#define UNIT_IS_COMPILED 0
const kernels_t *const *const TABLES(ISA_LEVEL) = NULL;
#elif defined(ISA_BASE) && !defined(OF_LEVELS_WITH_A_BASE)
#define UNIT_IS_COMPILED 0
extern const kernels_t *const OWN_TABLES(ISA_BASE)[ROOM_TYPES];
const kernels_t *const *const TABLES(ISA_LEVEL) = OWN_TABLES(ISA_BASE);
#else
#define UNIT_IS_COMPILED 1
extern const kernels_t *const OWN_TABLES(ISA_LEVEL)[ROOM_TYPES];
const kernels_t *const *const TABLES(ISA_LEVEL) = OWN_TABLES(ISA_LEVEL);
#endif
