/* Normalizations and activations at one ISA level; see unit.h. */
#include "job.h"

#include "unit.h"

#define REAL_KERNELS "kernels.h"
#include "each_real.h"
