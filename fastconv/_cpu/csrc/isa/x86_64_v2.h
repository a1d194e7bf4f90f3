/* SSE4.2: 16 registers of 16 bytes, no fused multiply-add. Tile 6 x 2 vectors: 12 accumulators. */
#define ISA_NAME "x86-64-v2"
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#define TILE_VECTORS 2
