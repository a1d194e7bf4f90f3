/* The kernels of small_groups that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "transpose.h"
#include "pixel_runs.h"
#include "row_splits.h"
#include "panel.h"
#include "correlate.h"
#include "weight.h"
