/* What the loops over single elements work on. */
#ifndef FASTCONV_ELEMENTWISE_JOB_H
#define FASTCONV_ELEMENTWISE_JOB_H

#include "carry_job.h"
#include "channel_sums_job.h"

#define ROOM elementwise
#include "room.h"

#endif
