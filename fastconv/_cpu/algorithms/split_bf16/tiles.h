/* What multiply_tiles_by of an ISA level is given: two tiles of lines, one panel of weights.
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
static const signed char SPLIT_ORDER_1[1][2] = {{0, 0}};
static const signed char SPLIT_ORDER_3[3][2] = {{1, 0}, {0, 0}, {0, 1}};
static const signed char SPLIT_ORDER_6[6][2] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}, {0, 2}};
#define SPLIT_ORDER(products) ((products) == 1 ? SPLIT_ORDER_1 : (products) == 3 ? SPLIT_ORDER_3 : SPLIT_ORDER_6)
#define PIECES_OF(products) ((products) == 1 ? 1 : (products) == 3 ? 2 : 3)

/* Calls a function whose last argument is the number of products, a constant where it is compiled. */
#define BY_PRODUCTS(products, function, ...)                                                                           \
    switch (products) {                                                                                                \
    case 1: function(__VA_ARGS__, 1); break;                                                                           \
    case 3: function(__VA_ARGS__, 3); break;                                                                           \
    default: function(__VA_ARGS__, 6);                                                                                 \
    }

/* What multiply_gradient_by is given: the tiles of two blocks of 16 filters and of two blocks of 16 channels.
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
