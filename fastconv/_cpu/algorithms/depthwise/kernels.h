/* The kernels of depthwise convolutions and small groups that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "transpose.h"
#include "nhwc.h"
#include "nhwc_weight.h"
#include "small_groups_panel.h"
#include "small_groups.h"
#include "small_groups_weight.h"
