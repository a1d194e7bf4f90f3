/* AVX2 + FMA: 16 registers of 32 bytes. Tile 6 x 2 vectors: 12 accumulators, 2 column vectors, 1 broadcast. */
#define ISA_NAME "x86-64-v3"
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_VECTORS 2
