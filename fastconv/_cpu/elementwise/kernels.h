/* Loops over single elements that exist once per real type. */
#include "cast.h"
#include "channel_sums.h"
