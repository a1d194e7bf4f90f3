/* REAL_KERNELS, a header of kernels, once per real type, and the tables of them; see unit.h. In it REAL is the type,
 * REAL_BYTES its size, NAMED(name) a name of its own, REAL_MATH(name) a function of math.h; vector.h has the rest. */
#if UNIT_IS_COMPILED

#define REAL float
#define REAL_BYTES 4
#define NAMED(name) JOIN(name, _float32)
#define REAL_MATH(name) JOIN(name, f)
#include "vector.h"
#include REAL_KERNELS
#include "real_table.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED
#undef REAL_MATH

#define REAL double
#define REAL_BYTES 8
#define NAMED(name) JOIN(name, _float64)
#define REAL_MATH(name) name
#include "vector.h"
#include REAL_KERNELS
#include "real_table.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED
#undef REAL_MATH

const kernels_t *const OWN_TABLES(ISA_LEVEL)[ROOM_TYPES] = {&table_float32, &table_float64};

#endif
