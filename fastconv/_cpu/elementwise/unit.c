/* Loops over single elements at one ISA level; see unit.h. */
#include "job.h"

#include "unit.h"

#include "half_floats.h"

#define REAL_KERNELS "kernels.h"
#include "each_real.h"
