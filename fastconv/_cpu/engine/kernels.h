/* The kernel that measures a machine's peak that exist once per real type. */
#include "peak.h"
