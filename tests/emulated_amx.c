/* The ISA level "amx" with its tile instructions in software, as a library that test_split_bf16.py loads. What the
 * level shares with a lower one is not used: those symbols only have to be there. */
#define EMULATED_TILES
#define ISA_LEVEL amx
#include "isa_unit.c"

const real_kernels_t fastconv_kernels_float32_x86_64_v4, fastconv_kernels_float64_x86_64_v4;
const pool_kernels_t fastconv_pooling_x86_64_v4[POOL_TYPES];
void fastconv_cast_x86_64_v4(const void *argument, int64_t item, void *scratch) {
    (void)argument, (void)item, (void)scratch;
}
