/* What multiply_tiles of an ISA level is given: two tiles of lines, one panel of weights.
 *
 *     sums[half][line][f] (+)= sum over blocks, taps, pieces, channels of  line's channel * weight of filter f
 *
 * for the TILE_LINES lines of each tile and the 2 x 16 filters. Products of pieces are added in the same order by every
 * level, the small ones first; the order inside of a block of 32 channels is the instruction's. */
typedef struct {
    const char *lines[2];
    int64_t block_bytes, piece_bytes; /* from a line to the same of the next block of channels, and to its next piece */
    const int64_t *tap_bytes;
    int64_t blocks, taps;
    const char *weights;
    float *sums; /* the second tile's follow the first one's */
    int64_t half_floats;
    int goes_on; /* the sums are added to, else written */
} tiles_t;

/* (piece of the source, piece of the weights), in the order of addition. */
static const signed char SPLIT_ORDER_3[3][2] = {{1, 0}, {0, 0}, {0, 1}};
static const signed char SPLIT_ORDER_6[6][2] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 2}};

/* What multiply_gradient is given: the tiles of two blocks of 16 filters and of two blocks of 16 channels.
 *
 *     totals[half of filters][half of channels][filter][channel] (+)= sum over tiles, pieces, lines of
 *         gradient of filter at the line * the line's channel
 *
 * where the two numbers of a pair are of two images. A sum begins at zero and is then added to the totals: the chain of
 * roundings is that of the tiles, not of all pixels. */
typedef struct {
    const char *lines[2]; /* of each half of the channels */
    int64_t piece_bytes;
    const int64_t *tiles; /* bytes from `lines` to each tile's first line */
    int64_t count;
    const char *gradient[2]; /* of each half of the filters: [tile][piece][filter][line] */
    float *totals;
    int goes_on;
} gradient_tiles_t;
