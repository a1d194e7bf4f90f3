/* Which ISA levels there are, and which this machine runs. */
#ifndef FASTCONV_DISPATCH_H
#define FASTCONV_DISPATCH_H

#include <stdint.h>

/* The name of a level, counted from the lowest; NULL behind the last. */
const char *isa_level_name(int64_t level);

/* Whether the level was compiled and this CPU and operating system run it. */
int isa_level_is_usable(int64_t level);

/* The highest usable level up to the one called `max_isa`, if that is not NULL; -1 where there is none of that name. */
int64_t isa_level_of(const char *max_isa);

#endif
