/* The room of the kernel that measures a machine's peak; see peak.h. */
#ifndef FASTCONV_PEAK_JOB_H
#define FASTCONV_PEAK_JOB_H

/* Steps of one item of multiply_add_peak; its job is REAL[2], factor and term. */
#define PEAK_STEPS 20000

#define ROOM engine
#include "room.h"

#endif
