/* The kernels of depthwise_nhwc that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "pixel_runs.h"
#include "row_splits.h"
#include "correlate.h"
#include "weight.h"
