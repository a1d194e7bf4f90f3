/* The kernel that measures a machine's peak, once per real type. */
#include "peak.h"
