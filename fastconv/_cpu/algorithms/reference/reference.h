/* The definition as plain loops, for any problem and any element type: the oracle inside the library.
 *
 * `job->correlation` is the problem's *forward* correlation in every direction; `direction` says which of its three
 * arrays is computed. Sums run in double, complex products by the plain formula (no
 * recovery of infinities); int8 problems have int16 operands and int32 sums. */
#ifndef FASTCONV_REFERENCE_H
#define FASTCONV_REFERENCE_H

#include "correlation.h"

typedef enum { REFERENCE_FORWARD, REFERENCE_BACKWARD_INPUT, REFERENCE_BACKWARD_WEIGHT } reference_direction_t;

typedef struct {
    correlation_t correlation;
    reference_direction_t direction;
} reference_job_t;

/* One item is a short piece of a row of the result, or one element of the weight gradient. */
int64_t reference_items(const reference_job_t *job);

void reference_float32(const void *job, int64_t item, void *scratch);
void reference_float64(const void *job, int64_t item, void *scratch);
void reference_complex64(const void *job, int64_t item, void *scratch);
void reference_complex128(const void *job, int64_t item, void *scratch);
void reference_int8(const void *job, int64_t item, void *scratch);

#endif
