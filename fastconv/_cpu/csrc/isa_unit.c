/* One ISA level: setup.py compiles this file once per row of its table with that row's flags and
 * -DISA_LEVEL=<identifier>. Everything is static but what is named after the level, so that no wide code leaks into
 * other levels. A level with REAL_KERNELS_OF shares the kernels of real numbers, pooling and casts with that one and
 * has kernels of pieces. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "elementwise/cast_job.h"
#include "elementwise/channel_sums_job.h"
#include "algorithms/depthwise/job.h"
#include "algorithms/direct/job.h"
#include "algorithms/implicit_gemm/job.h"
#include "kernels.h"
#include "algorithms/direct/few_filters_job.h"
#include "prefetch.h"
#include "algorithms/depthwise/nchw_job.h"
#include "algorithms/fft_fused/job.h"
#include "algorithms/split_bf16/job.h"
#include "algorithms/winograd/job.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
/* The name of a table of the level `level`, or of this one. */
#define NAMED_OF(level, name) JOIN(JOIN(fastconv_, name), JOIN(_, level))
#define LEVEL_NAMED(name) NAMED_OF(ISA_LEVEL, name)
/* A vector used twice is loaded once: the compiler would rather read it from memory in both instructions. */
#define LOADED_ONCE(vector) __asm__("" : "+v"(vector))
/* For functions that are specialised by constant arguments. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* clang-format off */
#include STRING(isa/ISA_LEVEL.h)
/* clang-format on */

#ifdef NOT_COMPILED /* the compiler knows no such instructions */

const kernels_t LEVEL_NAMED(kernels) = {.name = ISA_NAME};

#elif defined(REAL_KERNELS_OF)

#define REAL float
#define NAMED(name) JOIN(name, _float32)
#define REAL_MATH(name) JOIN(name, f)
#include "split_kernels.h"
extern const real_kernels_t NAMED_OF(REAL_KERNELS_OF, kernels_float32), NAMED_OF(REAL_KERNELS_OF, kernels_float64);
extern const pool_kernels_t NAMED_OF(REAL_KERNELS_OF, pooling)[];
void NAMED_OF(REAL_KERNELS_OF, cast)(const void *argument, int64_t item, void *scratch);
const kernels_t LEVEL_NAMED(kernels) = {ISA_NAME,
                                        &NAMED_OF(REAL_KERNELS_OF, kernels_float32),
                                        &NAMED_OF(REAL_KERNELS_OF, kernels_float64),
                                        NAMED_OF(REAL_KERNELS_OF, pooling),
                                        &split_kernels,
                                        NAMED_OF(REAL_KERNELS_OF, cast)};

#else

#define REAL float
#define REAL_BYTES 4
#define NAMED(name) JOIN(name, _float32)
#define REAL_MATH(name) JOIN(name, f)
#include "real_kernels.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED
#undef REAL_MATH

#define REAL double
#define REAL_BYTES 8
#define NAMED(name) JOIN(name, _float64)
#define REAL_MATH(name) name
#include "real_kernels.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED
#undef REAL_MATH

#include "pooling/types.h"

#include "elementwise/cast.h"

const kernels_t LEVEL_NAMED(kernels) = {
    ISA_NAME,         &LEVEL_NAMED(kernels_float32), &LEVEL_NAMED(kernels_float64), LEVEL_NAMED(pooling), NULL,
    LEVEL_NAMED(cast)};

#endif
