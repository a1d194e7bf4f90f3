/* Loops over single elements that exist once per real type. */
#include "carry.h"
#include "channel_sums.h"
