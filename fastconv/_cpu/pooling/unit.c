/* The pooling kernels at one ISA level; see unit.h. */
#include "job.h"

#include "unit.h"

#if UNIT_IS_COMPILED
#include "types.h"
#endif
