/* Normalizations and activations, which exist once per real type. */
#include "epilogue.h"
#include "slopes.h"
#include "activations.h"
#include "normalization.h"
