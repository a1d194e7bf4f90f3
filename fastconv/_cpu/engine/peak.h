/* The highest rate of multiply-adds: as many independent chains as the register tile has, no memory traffic.
 *
 *     chain[i] = chain[i] * factor + term,   PEAK_STEPS times
 *
 * An item takes its start from and stores its end to `scratch` (TILE_ROWS * TILE_VECTORS vectors), so that nothing is
 * optimised away. The factor is below 1: chains converge and never reach the slow ranges of overflow or subnormals. */
static void NAMED(multiply_add_peak)(const void *data, int64_t item, void *scratch) {
    NAMED(unaligned) *memory = (NAMED(unaligned) *)scratch;
    NAMED(vector) chain[TILE_ROWS * TILE_VECTORS];
    const REAL *numbers = (const REAL *)data;
    const NAMED(vector) factor = numbers[0] - (NAMED(vector)){0}, term = numbers[1] - (NAMED(vector)){0};
    (void)item;
#pragma GCC unroll 32
    for (int i = 0; i < TILE_ROWS * TILE_VECTORS; i++) chain[i] = memory[i];
    for (int64_t step = 0; step < PEAK_STEPS; step++)
#pragma GCC unroll 32
        for (int i = 0; i < TILE_ROWS * TILE_VECTORS; i++) chain[i] = chain[i] * factor + term;
#pragma GCC unroll 32
    for (int i = 0; i < TILE_ROWS * TILE_VECTORS; i++) memory[i] = chain[i];
}
