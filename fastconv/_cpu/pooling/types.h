/* The tables of pooling kernels: one inclusion of pooling.h per element type. */
#include <stdint.h>

#include "job.h"
#include "walk.h"

#define REAL_QUOTIENT(type, sum, divisor) ((sum) / (type)(divisor))
/* The lowest integer over -1 does not fit its type; it wraps, as the sums do. */
#define WRAPPED_QUOTIENT(type, sum, divisor)                                                                           \
    ((divisor) == -1 ? (int64_t)(0 - (sum)) : (int64_t)(sum) / (int64_t)(divisor))
#define NOT_NAN(value) 0

#define ELEMENT float
#define NAMED(name) JOIN(name, _float32)
#define LOWEST (-INFINITY)
#define IS_NAN(value) ((value) != (value))
#define SUM float
#define WIDE double
#define QUOTIENT REAL_QUOTIENT
#define HAS_GRADIENT
#include "pooling.h"

#define ELEMENT double
#define NAMED(name) JOIN(name, _float64)
#define LOWEST (-INFINITY)
#define IS_NAN(value) ((value) != (value))
#define SUM double
#define WIDE double
#define QUOTIENT REAL_QUOTIENT
#define HAS_GRADIENT
#include "pooling.h"

#define ELEMENT int64_t
#define NAMED(name) JOIN(name, _int64)
#define LOWEST INT64_MIN
#define IS_NAN NOT_NAN
#define SUM uint64_t
#define WIDE uint64_t
#define QUOTIENT WRAPPED_QUOTIENT
#include "pooling.h"

#define ELEMENT int8_t
#define NAMED(name) JOIN(name, _int8)
#define LOWEST INT8_MIN
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT int16_t
#define NAMED(name) JOIN(name, _int16)
#define LOWEST INT16_MIN
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT int32_t
#define NAMED(name) JOIN(name, _int32)
#define LOWEST INT32_MIN
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT uint8_t
#define NAMED(name) JOIN(name, _uint8)
#define LOWEST 0
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT uint16_t
#define NAMED(name) JOIN(name, _uint16)
#define LOWEST 0
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT uint32_t
#define NAMED(name) JOIN(name, _uint32)
#define LOWEST 0
#define IS_NAN NOT_NAN
#include "pooling.h"

#define ELEMENT uint64_t
#define NAMED(name) JOIN(name, _uint64)
#define LOWEST 0
#define IS_NAN NOT_NAN
#include "pooling.h"

#define MAXIMA(type) .maximum = pool_maximum_##type, .maximum_indices = pool_maximum_indices_##type
#define GRADIENTS(type)                                                                                                \
    .average_gradient = pool_average_gradient_##type, .maximum_gradient = pool_maximum_gradient_##type

#define TABLE(type, ...) static const kernels_t table_##type = {MAXIMA(type), __VA_ARGS__}
TABLE(float32, .average = pool_average_float32, GRADIENTS(float32));
TABLE(float64, .average = pool_average_float64, GRADIENTS(float64));
TABLE(int8, .average = NULL);
TABLE(int16, .average = NULL);
TABLE(int32, .average = NULL);
TABLE(int64, .average = pool_average_int64);
TABLE(uint8, .average = NULL);
TABLE(uint16, .average = NULL);
TABLE(uint32, .average = NULL);
TABLE(uint64, .average = NULL);

const kernels_t *const OWN_TABLES(ISA_LEVEL)[ROOM_TYPES] = {
    [POOL_FLOAT32] = &table_float32, [POOL_FLOAT64] = &table_float64, [POOL_INT8] = &table_int8,
    [POOL_INT16] = &table_int16,     [POOL_INT32] = &table_int32,     [POOL_INT64] = &table_int64,
    [POOL_UINT8] = &table_uint8,     [POOL_UINT16] = &table_uint16,   [POOL_UINT32] = &table_uint32,
    [POOL_UINT64] = &table_uint64,
};
