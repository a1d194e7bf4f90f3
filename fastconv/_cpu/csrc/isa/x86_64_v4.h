/* AVX-512: 32 registers of 64 bytes. Tile 14 x 2 vectors: 28 accumulators, 2 column vectors, broadcasts from memory. */
#define ISA_NAME "x86-64-v4"
#define VECTOR_BYTES 64
#define TILE_ROWS 14
#define TILE_VECTORS 2
