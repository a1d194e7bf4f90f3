/* The kernels of bfloat16 pieces at the ISA level "amx" with its tile instructions in software, as a library that
 * test_split_bf16.py loads. */
#define EMULATED_TILES
#define ISA_LEVEL amx
#define ISA_BASE x86_64_v4
#define SPLIT_TILES tiles_amx.h
#include "unit.c"
