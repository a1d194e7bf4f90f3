/* REAL_KERNELS, a header of kernels, once per real type, and the tables of them; see unit.h. In it REAL is the type,
 * REAL_BYTES its size, NAMED(name) a name of its own; vector.h has the rest. */
#if UNIT_IS_COMPILED

#define REAL float
#define REAL_BYTES 4
#define NAMED(name) JOIN(name, _float32)
#include "vector.h"
#include REAL_KERNELS
#include "real_table.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED

#define REAL double
#define REAL_BYTES 8
#define NAMED(name) JOIN(name, _float64)
#include "vector.h"
#include REAL_KERNELS
#include "real_table.h"
#undef REAL
#undef REAL_BYTES
#undef NAMED

const kernels_t *const OWN_TABLES(ISA_LEVEL)[ROOM_TYPES] = {&table_float32, &table_float64};

#endif
