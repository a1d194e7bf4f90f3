/* The kernels of fused Fourier transforms that exist once per real type. */
#include "epilogue.h"
#include "lines.h"
#include "transpose.h"
#include "fourier.h"
#include "fft_fused.h"
#include "weight.h"
