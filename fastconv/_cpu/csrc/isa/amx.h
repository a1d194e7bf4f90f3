/* AVX-512 with matrix tiles of bfloat16 (AMX-TILE, AMX-BF16). Tile: 2 x 16 lines by 2 x 16 filters: 4 tile registers of
 * sums, 2 of lines, 2 of weights. */
#define ISA_NAME "amx"
#define REAL_KERNELS_OF x86_64_v4
#define SPLIT_TILES "algorithms/split_bf16/tiles_amx.h"
