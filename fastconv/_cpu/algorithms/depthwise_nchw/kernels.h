/* The kernels of depthwise_nchw that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "correlate.h"
#include "weight.h"
