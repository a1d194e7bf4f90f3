/* The direct kernels that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "transpose.h"
#include "direct.h"
#include "few_filters.h"
