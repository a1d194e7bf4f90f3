/* One ISA level: setup.py compiles this file once per row of its table with that row's flags and
 * -DISA_LEVEL=<identifier>. Everything is static but the table, so that no wide code leaks into other levels. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "channel_sums_job.h"
#include "depthwise_job.h"
#include "direct_job.h"
#include "gemm_job.h"
#include "kernels.h"
#include "narrow_job.h"
#include "prefetch.h"
#include "planes_job.h"
#include "spectral_job.h"
#include "winograd_job.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
/* A vector used twice is loaded once: the compiler would rather read it from memory in both instructions. */
#define LOADED_ONCE(vector) __asm__("" : "+v"(vector))
/* For functions that are specialised by constant arguments. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* clang-format off */
#include STRING(isa/ISA_LEVEL.h)
/* clang-format on */

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

#include "pooling_types.h"

const kernels_t JOIN(fastconv_kernels_, ISA_LEVEL) = {ISA_NAME, &kernels_float32, &kernels_float64, pooling_kernels};
