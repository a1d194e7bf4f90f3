/* AVX-512 with dot products of pairs of bfloat16. Tile: 2 x 7 lines by 2 vectors of filters: 28 accumulators, 2 vectors
 * of weights, broadcasts of pairs of channels from memory. */
#define ISA_NAME "avx512-bf16"
#define REAL_KERNELS_OF x86_64_v4
#define SPLIT_TILES "algorithms/split_bf16/tiles_avx512_bf16.h"
